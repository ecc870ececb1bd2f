"""Answers by kind, each line `reference | content of the box`: WRONG ones must never be paid, RIGHT ones always."""

# ruff: noqa: E501 - tables of texts read best unwrapped

WRONG = {
    "letters after a number": r"""
6 | 6xy
6 | 6x
6 | 6ab
6 | 6 ab
6 | 6m
6 | 6 g
6 | 6mn
5 | 5x^2
5 | 5^2
5 | 5 \text{ cm} x
5x^2 | 5
2\pi | 2\pi rh
2\pi | 2\pi r
2\pi rh | 2\pi
\frac{a}{b} | \frac{a}{b}cd
\frac{a}{b} | \frac{a}{b} cd
\frac{1}{2} | \frac12 ab
30xy | 30x
12 | 12i
12 | 12e
12 | 12\pi
12 | 12k
12 | 12K
\sqrt{3} | \sqrt{3}x
\sqrt{3} | \sqrt{3}i
3x | 3xkg
5 \text{ mW} | 5 \text{ MW}
5 \text{ km} | 5 \text{ m}
5 \text{ Pa} | 5 \text{ kPa}
5 \text{ m} | 5 \text{ m}^2
5 \text{ m/s} | 5 \text{ m/s}^2
5 \text{ km/h} | 5 \text{ m/s}
5 \text{ g} | 5 \text{ mg}
\$5 | 5 \text{ euros}
""",
    "words around a number": r"""
7 | 7 hundred
7 | 7 dozen
7 | 7 squared
7 | 7 cubed
7 | 7 plus eight
7 | 7 \text{ million}
7 | 7 \text{ thousand}
7 | 7 \text{ hundredths}
7 | 7 \text{ halves}
7 | 7 \text{ pairs}
7 | \text{twice } 7
7 | \text{half of } 7
7 | \text{minus } 7
5 | 5 at least
5 | \text{at least } 5
5 | \text{at most } 5
5 | \text{more than } 5
5 | \text{less than } 5
5 | 5 \text{ or more}
5 | 5 negative
5 | 5 fails
5 | 5 \text{ is wrong}
5 | 5 \text{ is not the answer}
5 | \text{not } 5
5 | \text{anything but } 5
5 | 5 \text{ or } 6
5 | 5 \text{ if } x>0
5 | 5 \text{ maybe}
5 | 5?
5 | \text{definitely } 5 \text{ or so}
5 | 5 \text{ times } x
5 | 5 \text{ percent of } 8
5 | 5 \text{ factorial}
5 | 5 \text{ mod } 3
5 | \text{five or six}
5 | \text{fifty}
5 | \text{five hundred}
A | \text{(A) is wrong}
A | \text{(A) fails}
A | \text{(A) is incorrect}
A | \text{not A}
A | \text{(A) or (B)}
A | \text{(A) nope}
C | \text{(C) the wrong one}
\text{Yes} | \text{Yes and no}
\text{Yes} | \text{not Yes}
\text{even} | \text{not even}
\text{Tuesday} | \text{Tuesday or Friday}
""",
    "commands that change a value": r"""
3+4i | \overline{3+4i}
3-4i | \overline{3-4i}
A | A^T
A | \overline{A}
x | \bar{x}
x | \hat{x}
x | \tilde{x}
x | \dot{x}
7 | \not= 7
7 | \neq 7
7 | \cancel{7}
7 | \xcancel{7}
7 | \overline{7}
7 | \lnot 7
7 | \sim 7
\sin 40^\circ | \sin 40
\sin 40 | \sin 40^\circ
\cos 20^\circ | \cos 20
\tan(35^\circ) | \tan(35)
30^\circ | 30^\circ 15'
30 | 30^\circ 15'
30^\circ 15' | 30^\circ
30^\circ 15' | 30^\circ 51'
f'(x) | f(x)
f(x) | f'(x)
x | x'
x | x^*
5 | 5'
5 | 5''
5 | \sqrt{5}
5 | \lfloor 5.5 \rfloor
A^{-1} | A
""",
    "names and relations": r"""
x=1,y=2 | 2,1
x=1,y=2 | (2,1)
x=1,y=2 | y=1,x=2
AB=3,BC=4 | 4,3
AB=3,BC=4 | BC=3,AB=4
x=5 | x^{-1}=5
5 | x^{-1}=5
x=5 | |x|=5
5 | |x|=5
5 | -x=5
5 | 2x=5
5 | x^2=5
5 | \frac{1}{x}=5
5 | \sqrt{x}=5
5 | x+1=5
5 | x>5
5 | x\ne 5
5 | x \le 5
x=5 | y=5
x=5 | x \ge 5
f(x)=2x | g(x)=2x
f'(x)=2x | f(x)=2x
f(x) | f^{-1}(x)
p \land q | p \lor q
p \lor q | p \land q
x=1 \text{ and } y=2 | x=1 \text{ or } y=2
x>1 \text{ and } x<5 | x>1 \text{ or } x<5
x<1 \text{ or } x>5 | x<1 \text{ and } x>5
2 \text{ and } 5 | 2 \text{ or } 5
A^{-1}B | BA^{-1}
A^TB | BA^T
\angle ABC | \angle BAC
\angle ABC = 35^\circ | \angle ACB = 35^\circ
1,2,3 | 3,2,1
10,4,-2 | 4,10,-2
(1,2,3) | (3,2,1)
y=2x+3 | x=2y+3
y=2x+3 | y<2x+3
x>2 | y>2
x \in (1,2) | y \in (1,2)
2x+3y=6 | 2x-3y=6
3:4 | 4:3
P(A)=\frac15 | P(B)=\frac15
\triangle ABC | \triangle ABD
x_1=2,x_2=3 | x_1=3,x_2=2
""",
    "numbers": r"""
\infty | 3.5
\infty | 10^{100}
\infty | -\infty
[2,\infty) | [2,7.5)
[2,\infty) | [2,10^9)
(-\infty,2] | [-7.5,2]
0,2 | 0.2
1,5 | 1.5
0.2 | 0,3
10^{50} | 10^{50}+1
10^{50}+1 | 10^{50}
2^{200} | 2^{200}+1
10^{40}+\sqrt{2} | 10^{40}+\sqrt{3}
\frac{10^{30}}{3} | 333333333333333333333333333333.3
\begin{pmatrix}\pi\\1\end{pmatrix} | \begin{pmatrix}3.141592654\\1\end{pmatrix}
\begin{pmatrix}\frac13\\1\end{pmatrix} | \begin{pmatrix}0.333333333\\1\end{pmatrix}
\begin{pmatrix}\sqrt2&0\\0&1\end{pmatrix} | \begin{pmatrix}1.414213562&0\\0&1\end{pmatrix}
\{\frac13,1\} | \{0.333333333,1\}
(\pi,1) | (3.141592654,1)
\pi | 3.14159265
\frac{1}{3} | 0.33333333
1267650600228229401496703205376 | 1267650600228229401496703205377
1267650600228229401496703205376 | 1.267650600228229\times 10^{30}
0.07 | 7
50 | 5000\%
3\frac12 | \frac{3}{2}
3\frac12 | 31/2
1,234 | 1.234
5 | 05.1
12 | 1 2
12 | 1\cdot 2
""",
    "uncommitted or undone": r"""
5 | \boxed{5} \boxed{6}
5 | 5 \boxed{6}
5 | 5, 6
5 | 5; 6
5 | \{5,6\}
5 | (5,6)
5 | 5 \text{ and } 6
5 | 5 \approx 6
5 | 5 = 6
5 | 6 = 5
5 | 5/1/2
5 | \pm 5
1024 | {2}^{10}
1024 | 2^{10}
1024 | (2)^{10}
1024 | 4^5
1024 | e^{10\ln 2}
1024 | \exp(10\ln 2)
1024 | 1000+24
1024 | 2^5 \cdot 2^5
56877 | 123\cdot456+789
56877 | 123*456+789
120 | 5!
120 | 1\cdot2\cdot3\cdot4\cdot5
10 | \binom{5}{2}
10 | \frac{5\cdot 4}{2}
10 | \frac{20}{2}+0
7 | \sqrt{49}
7 | |-7|
7 | 3+4
7 | 10-3
3 | \log_2 8
\frac{1}{2} | \sin 30^\circ
\frac{1}{2} | \cos\frac{\pi}{3}
\frac{5}{6} | \frac12+\frac13
\frac{\sqrt3}{2} | \sin 60^\circ
8\sqrt2 | \sqrt{50}+\sqrt{18}
17+12\sqrt2 | (3+2\sqrt2)^2
-1 | i^2
2i | (1+i)^2
(x-2)(x+3) | x^2+x-6
(x+1)^2 | x^2+2x+1
7(x+3) | 7x+21
3(x-1)(x+1) | 3(x^2-1)
-29x^5(7x^6-2) | 58x^5-203x^{11}
x(x+1)(x+2) | x(x^2+3x+2)
(a+b)(a-b) | a^2-b^2
(x-2)(x+2) | x(x-\frac{4}{x})
5x | 2x+3x
5x+1 | 2x+3x+1
x+1 | \frac{x^2-1}{x-1}
x^5 | \frac{x^7}{x^2}
x | x+0y
4 | \frac{8x}{2x}
0 | x-x
1 | \sin^2 x+\cos^2 x
5050 | \sum_{k=1}^{100}k
\frac12 | \int_0^1 x\,dx
2x | \frac{d}{dx}x^2
2x | \frac{d}{dx}(x^2)
6 | \gcd(12,18)
x=5 | 2x=10
5 | x=2+3
""",
}
RIGHT = {
    "unicode": r"""
\frac12 | ½
\frac34 | ¾
1\frac12 | 1½
x^2 | x²
10^{-3} | 10⁻³
x_1 | x₁
\sqrt5 | √5
\sqrt{75} | √75
10-2\sqrt5 | 10 - 2√5
\sqrt[3]{2} | ∛2
12 | １２
-5 | −5
-5 | –5
-5 | ﹣5
5 | ​5​
5 | ⁠5﻿
2\pi | 2π
\theta | θ
x\ge 2 | x ≥ 2
x\le 2 | x ≤ 2
x \ne 2 | x ≠ 2
\mathbb{R} | ℝ
\infty | ∞
(-\infty,2)\cup(3,\infty) | (−∞, 2) ∪ (3, ∞)
\pm 3 | ±3
3\times 4=12 | 12
90^\circ | 90°
(1,2) | （1，2）
50\% | 50％
29 | 29个
12 | 12元
35 | 35厘米
5 | 5千克
7 | 答案是7
\frac{3}{4} | 3⁄4
2\cdot 3=6 | 6
\emptyset | ∅
""",
    "units": r"""
5 | 5 \text{ cm}
5 | 5\,\mathrm{cm}
5 | 5 cm
5 | 5\text{ m}
5 | 5 \text{ km/h}
5 | 5 \text{ m/s}^2
5 | 5 \frac{\text{m}}{\text{s}}
5 | 5\ \mathrm{m/s}
5 | 5 \text{ kg}\cdot\text{m/s}^2
5 | 5 \text{ kilowatt-hours}
5 | 5 \text{ man-hours}
5 | 5 \text{ miles per hour}
5 | 5 \text{ square feet}
5 | 5 \text{ sq ft}
5 | 5 \text{ cubic meters}
5 | 5\text{ units}^2
5 | \$5
5 | \$5.00
5 | 5 \text{ dollars}
5 | 5 \text{ USD}
5 | €5
5 | 5 \text{ euros}
5 | 5^\circ
5 | 5^\circ\text{C}
5 | 5 \text{ degrees}
5 | 5 \text{ apples}
5 | 5 \text{ red marbles}
5 | 5 \text{ gallons of water}
5 | 5 \text{ hours}
5 | 5 \text{ students}
5 | 5 \text{ years old}
5 | 5 \text{ people}
5 | 5 \text{ ways}
5 | 5 \text{ Hz}
5 \text{ cm} | 5
5 \text{ cm} | 5 \text{ centimeters}
5 \text{ cm}^2 | 5 \text{ square centimeters}
5 \text{ m/s} | 5 \text{ meters per second}
6 \text{ hours } 20 \text{ minutes} | 6 \text{ h } 20 \text{ min}
60 | 60 \text{ mph}
""",
    "derivations, labels and remarks": r"""
120 | 5! = 120
12 | f(2)+f(3)=12
12 | f(2) = 12
\frac38 | P(X\ge2)=\frac38
5 | 2+3=5
5 | x=2+3=5
113 | m+n=113
10 | \binom{5}{2}=10
6 | \gcd(12,18)=6
5 | AB=5
5 | |AB|=5
5 | \overline{AB}=5
35 | \angle ABC = 35^\circ
35 | m\angle ABC = 35^\circ
9\pi | A=\pi r^2=9\pi
55 | \sum_{k=1}^{10}k=55
\frac13 | \frac13\approx0.333
\sqrt2 | \sqrt2\approx 1.414
5 | x\approx 5
7.25 | \text{about } 7.25
7 | \approx 7
12 | \text{Area} = 12
12 | \text{Area: } 12
12 | \text{The total is } 12
12 | \text{The answer is } 12
12 | \text{The final answer is } 12.
12 | 12 \text{ is the answer}
12 | \text{Answer: } 12
12 | 12 \text{ in total}
12 | \therefore 12
12 | \textbf{12}
12 | $12$
12 | 12.
12 | \left(12\right)
3t^2 | v(t)=3t^2
\frac{x-3}{2} | f^{-1}(x)=\frac{x-3}{2}
3n+1 | a_n=3n+1
x=5 | 5
5 | x=5
5 | 5=x
""",
    "sets, intervals and systems": r"""
(2,\infty) | \{x \mid x>2\}
(2,\infty) | \{x : x>2\}
(2,\infty) | \{x\in\mathbb{R} \mid x>2\}
(2,\infty) | \{x | x>2\}
(-1,2] | \{x \mid -1<x\le2\}
\{x|-2\leq x < 1\} | [-2,1)
(1,2) | ]1,2[
[1,2) | [1,2[
(-\infty,1)\cup(2,\infty) | ]-\infty,1[\cup]2,\infty[
x=1,y=2 | \begin{cases}x=1\\y=2\end{cases}
x=1,y=2 | \begin{aligned}x&=1\\y&=2\end{aligned}
(1,2) | x=1,\ y=2
x>2 | (2,\infty)
(2,\infty) | 2<x
|x|<3 | (-3,3)
x\ne2 | (-\infty,2)\cup(2,\infty)
x = \frac{\pi}{4}+k\pi, k\in\mathbb{Z} | x = \frac{\pi}{4}+n\pi, n\in\mathbb{Z}
\frac{\pi}{4}+k\pi, k\in\mathbb{Z} | \frac{\pi}{4}+\pi n, n \in \mathbb{Z}
x>1 \text{ and } x<5 | (1,5)
\{1,2\} | 1 \text{ and } 2
\{1,2\} | x=1 \text{ or } x=2
\pm 2 | 2,-2
1\pm\sqrt2 | 1+\sqrt2,1-\sqrt2
\mathbb{R}\setminus\{2\} | x\neq2
""",
    "forms": r"""
\frac{d}{2} | \frac{d}{2}
\frac{d}{2} | d/2
\frac{1}{2}d | \frac{d}{2}
3:4 | 3:4
3:4 | 3 : 4
3:4 | 3\text{ to }4
3:4 | \frac{3}{4}
\frac{3}{4} | 3:4
C | \text{(C) A square}
C | \textbf{(C)}\ 17
C | (C)
C | C.
C | \text{C}
C | \text{Option C}
B | \text{(B) } \frac{1}{2}
30xy | 30yx
\frac12 ab | \frac{ab}{2}
2\pi rh | 2\pi hr
\sin 30^\circ | \frac12
\sin 40^\circ | \cos 50^\circ
2^{10} | 1024
10! | 3628800
\frac{\sqrt3}{3} | \frac{1}{\sqrt3}
(x-2)(x+3) | (x+3)(x-2)
(x-2)(x+3) | -(2-x)(x+3)
(x+1)^2 | (x+1)(x+1)
x^2-1 | (x-1)(x+1)
x^2+2x+1 | (x+1)^2
2x+2 | 2(x+1)
\frac{n(n+1)}{2} | \frac{n^2+n}{2}
A^{-1}B | A^{-1} B
\angle ABC | \angle CBA
\text{Yes} | Yes
\text{Yes} | \text{Yes.}
\text{no} | No
y=2x+3 | 2x-y+3=0
x^2+y^2=9 | x^2+y^2-9=0
0.5 | \frac12
1000 | 1,000
1000 | 1{,}000
1000 | 10^3
0.25 | 25\%
f'(x)=2x | 2x
e^{2x} | (e^x)^2
\ln 2 | \frac12\ln 4
""",
}
# whole responses: reference, response
RIGHT_RESPONSES = [
    ("5", r"So \boxed{5}. \boxed{}"),
    ("5", r"So \boxed{5}. The answer is \boxed{"),
    ("5", r"So \boxed{5}, that is, \boxed{5}."),
    ("5", r"\boxed{5} = \boxed{5.0}"),
    ("5", r"First \boxed{3}. Then we add two.\n\nThe answer is \boxed{5}."),
    ("2,3", r"The roots are \boxed{2} and \boxed{3}."),
    ("2,3", "- \\boxed{2}\n- \\boxed{3}"),
    ("2,3", "The roots:\n\n1. \\boxed{2}\n\n2. \\boxed{3}"),
    (r"x=2,y=3", r"x = \boxed{2} and y = \boxed{3}"),
    (r"\{2,3\}", r"the first root is \boxed{2} and the second root is \boxed{3}"),
    (r"10-2\sqrt5", "**Answer:** 10 - 2√5"),
    (r"10-2\sqrt5", "**Answer: 10 - 2√5**"),
    ("42", "We add.\n#### 42"),
    ("42", "We add 40 and 2.\n#### 42 apples"),
    ("B", "The answer is (B)."),
    ("B", "**Answer: (B)**"),
    ("B", "Therefore the answer is B."),
    (r"\text{Yes}", "Yes."),
    (r"\text{No}", "No"),
    (r"\frac{3}{4}", r"The final answer is $\frac{3}{4}$."),
    ("12", "so there are 12 eggs left in total"),
    ("7", "<think>maybe 3</think>\nThe answer is **7**."),
    ("72", r"Final answer: $\boxed{72}$"),
    ("185", r"\boxed{185\}"),
]
WRONG_RESPONSES = [
    ("5", r"<think> so \boxed{5}"),
    ("5", r"<think>We try. \boxed{5} seems right, but wait"),
    ("5", r"</think><think>\boxed{5}"),
    ("5", r"\boxed{6 \boxed{5}}"),
    ("5", r"\boxed{5} or \boxed{6}"),
    ("5", r"\boxed{6} or \boxed{5}"),
    ("5", r"\boxed{6} or maybe \boxed{5}"),
    ("5", r"\boxed{5}, \boxed{6}"),
    ("5", "- \\boxed{6}\n- \\boxed{5}"),
    ("5", r"The answer is not \boxed{5}"),
    ("5", r"\boxed{5} is wrong."),
    ("5", r"\boxed{5}. Wait: \boxed{6}"),
    ("2,3", r"\boxed{2} and not \boxed{3}"),
    ("2,3", r"\boxed{2}, \boxed{3} and \boxed{4}"),
    ("5", "The answer is not 5"),
    ("5", "The answer is 5 or 6"),
    ("5", r"\boxed{" + "x" * 700 + "}"),
    ("5", r"\boxed{5} \boxed{" + "6+" * 400 + "5}"),
]


def pairs(table: dict[str, str]) -> list[tuple[str, str, str]]:
    """Kind, reference and answer of every line."""
    lines = [(kind, line.partition(" | ")) for kind, rows in table.items() for line in rows.strip("\n").split("\n")]
    return [(kind, gold, given) for kind, (gold, _, given) in lines]

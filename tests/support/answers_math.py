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
    "siblings": r"""
6 | 6\text{x}
6 | 6\mathrm{xy}
6 | 6\mathrm{x}
6 | 6\,x
6 | 6 \text{ m n}
6 | 6~ab
6 | 6\cdot x
6 | 6 \text{ cm}/x
6 | 6\text{ xyz}
6 | 6k
6 | 6 mod 5
6 | 6 \text{ score}
6 | 6 \text{ gross}
6 | 6 \text{ quarters}
6 | 6 \text{ thirds}
6 | 6 \text{ tenths}
6 | 6 \text{ more than } x
6 | 6 \text{ fewer}
6 | 6 \text{ less}
6 | \text{below } 6
6 | \text{above } 6
6 | 6 \text{ doubled}
6 | \text{double } 6
6 | 6 \text{ tripled}
6 | 6 \text{ reciprocal}
6 | \text{negative of } 6
6 | 6 \text{ is impossible}
6 | 6 \text{ excluded}
6 | 6 \text{ rejected}
6 | \text{either } 6 \text{ or } 7
6 | \text{between } 5 \text{ and } 7
6 | 5 \text{ to } 7
6 | 6-7
6 | 6 - 6
6 | 6--7
6 | 6\sim7
6 | \text{six hundred}
6 | \text{sixty}
6 | \text{sixth}
6 | \text{six plus one}
6 | 6\%x
6 | 6^{\circ}C x
0.06 | 6
6 | 0.6e2
60 | 6e2
2\pi | 2\pi r
2\pi | 2\pi R
2\pi | 2\pi\text{r}
\frac{1}{2} | \frac{1}{2}h
\frac12 | 1/2x
5 | 5\prime
5 | 5^{\prime}
5 | {5}'
x | \vec{x}'
x | \ddot x
7 | \phantom{7}
7 | \not7
7 | \not\in 7
7 | \nexists 7
7 | \neg 7
7 | \cancel7
7 | \sout{7}
7 | \require{cancel}\cancel{7}
\cos 60^\circ | \cos 60
\sin x^\circ | \sin x
45^\circ | 45^\circ 0' 1''
3-4i | (3+4i)^*
3+4i | 3+4j
x=1,y=2 | x=1,z=2
x=1,y=2 | x=1
x=1,y=2 | x=1,y=2,z=3
x=1,y=2 | x+y=3
a=3,b=4 | b=3,a=4
a=3,b=4 | 4,3
3,4 | a=4,b=5
x=5 | 1/x=5
x=5 | \ln x=5
x=5 | x'=5
x=5 | x_1=5
x=5 | X=5
x=5 | x\approx 6
x=5 | x>5
x=5 | 5>x
x=5 | x\to5
x=5 | x\equiv 5 \pmod 7
5 | x \equiv 5 \pmod 7
5 | \sin x = 5
5 | e^x=5
5 | x!=5
5 | \lfloor x\rfloor=5
5 | x^3=5
5 | 3-x=5
5 | xy=5
5 | 5=5=6
5 | 5\in\{5,6\}
5 | x\in\{5,6\}
5 | x\in[5,6]
p \implies q | q \implies p
A\cup B | A\cap B
A\cap B | B\cup A
AB^{-1} | B^{-1}A
ABA^{-1} | B
A^{-1} | A^T
A B^T | B^T A
\vec{AB} | \vec{BA}
\angle A | \angle B
\triangle ABC \sim \triangle DEF | \triangle ABC \sim \triangle DFE
a<b<c | c<b<a
a<b<c | a<c<b
A, C, B | A, B, C
B, A, D, C | A, B, C, D
1,2,3,4 | 1,2,4,3
\text{red, blue, green} | \text{blue, red, green}
\infty | 10^{9999}
\infty | 1/0
\infty | 999999
-\infty | -1000
(2,\infty) | (2,1000000)
(-\infty,\infty) | (-100,100)
0,5 | 0.5
1,2 | 1.2
2,75 | 2.75
10^{100} | 10^{100}+1
3\cdot 10^{20} | 3\cdot10^{20}+1
3^{100} | 3^{100}+1
100! | 100!+1
\sqrt{10^{100}+1} | 10^{50}
(0.333333333, 1) | (0.3333, 1)
\frac{22}{7} | 3.142857
\frac{22}{7} | \pi
\sqrt{2} | 1.41421356
e | 2.718281828
\begin{pmatrix}e\\1\end{pmatrix} | \begin{pmatrix}2.718281828\\1\end{pmatrix}
[\sqrt2,2] | [1.414213562,2]
64 | 2^{6}
64 | 8^2
64 | (-8)^2
64 | 4^{3}
64 | \left(2\right)^{6}
64 | 2\times 32
64 | 8*8
64 | 8\cdot8
64 | 60+4
64 | 128/2/1
64 | \frac{128}{1+1}
64 | e^{6\ln 2}
64 | 10^{\log_{10}64}
64 | \log_2 2^{64}
64 | \sqrt{4096}
64 | \sqrt[3]{262144}
64 | \max(64,3)
64 | \lceil 63.5\rceil
64 | \det\begin{pmatrix}8&0\\0&8\end{pmatrix}
64 | \begin{vmatrix}8&0\\0&8\end{vmatrix}
64 | 64x^0
64 | \frac{64x}{x}
64 | \int_0^{64}dx
64 | 1+1+...+1
64 | 64+0
64 | 64\cdot 1
64 | --64
64 | +-64
64 | |-64|
64 | (8,8)
0.5 | 2^{-1}
\frac{1}{8} | 2^{-3}
\frac18 | \left(\frac12\right)^3
\frac{1}{8} | 8^{-1}
\frac{1}{6} | \frac12\cdot\frac13
\frac56 | 1-\frac16
x^2-5x+6 | x^2-6x+6
(x-2)(x-3) | x^2-5x+6
(x-2)(x-3) | (x^2-5x+6)
(x-2)(x-3) | 1\cdot(x^2-5x+6)
(x-2)^2(x+1) | (x-2)(x^2-x-2)
(2x+1)(x-3) | 2x^2-5x-3
4(x+1)^2 | (2x+2)^2+0
x(x-1) | x^2-x
x^2(x+1) | x^3+x^2
3(2a+b) | 6a+3b
-(x-1)(x+1) | 1-x^2
x^2+2x | x^2+x+x
6x | 2\cdot 3x
x^3 | x\cdot x\cdot x+0
\frac{x}{2} | \frac{x^2}{2x}
2\sqrt{3} | \sqrt{3}+\sqrt{3}
2\sqrt3 | \sqrt{27}-\sqrt3
2\sqrt3 | \sqrt{3\cdot4}
2\sqrt{3} | \sqrt2\cdot\sqrt6
3i | \sqrt{-9}
1 | e^{2\pi i}
-1 | e^{i\pi}
\text{True} | \text{not True}
\text{Yes} | \text{No}
\text{Yes} | \text{Yes, but no}
\text{Yes} | \text{Maybe yes}
\text{Monday} | \text{Monday or Sunday}
\text{Alice} | \text{Alice and Bob}
\text{Alice} | \text{Alicea}
\text{Alice} | \text{not Alice}
C | \text{(C) is eliminated}
C | \text{(C) or maybe D}
C | C, D
C | \text{C and D}
C | CD
C | \text{C?}
C | \text{(C) False}
C | c
C | \text{(C) The incorrect answer}
C | C+D
C | C'
C | C_1
\emptyset | \{0\}
\emptyset | 0
\emptyset | \{\emptyset\}
\mathbb{R} | \mathbb{Q}
\mathbb{R} | R
3:45 | 4:45
3:4 | 3:4:5
1:2 | 2:1
12_5 | 12
12_5 | 7
12 | 12_{10}
2/3 | 23
\frac{2}{3} | 2:3:1
5 \text{ minutes} | 5 \text{ seconds}
5 \text{ ms} | 5 \text{ Ms}
5 \text{ mm} | 5 \text{ Mm}
5 \text{ kg} | 5 \text{ Kg m}
5 \text{ cm}^2 | 5 \text{ cm}^3
5 \text{ cm}^2 | 5 \text{ cm}
5 \text{ N} | 5 \text{ J}
5 \text{ apples} | 5 \text{ oranges}
\$5 | 5 \text{ cents}
25 | \text{square of } 25
25 | \text{cube of } 25
25 | \text{number of digits in } 25
25 | \text{the sum of the digits of } 25
25 | \text{vertices of } 25
25 | \text{total of the digits in } 25
25 | 25 \text{ cube}
25 | 25 \text{ apples}^2
25 | \text{product } 25
3,4 | \text{sum of } 3 \text{ and } 4
3,4 | \text{the difference of } 3, 4
3,4 | \text{average of 3 and 4}
3,4 | \text{max of 3 and 4}
(2,-3) | y=2,x=-3
(2,-3) | (y,x)=(2,-3)
(2,-3) | (2,-3\%)
1,2 | 1,2\%
\$18.50 | 18.50\%
5\text{ m} | 5\%
\infty | 2\infty
\infty | \infty^2
\infty | e^\infty
\infty | \infty-1
7! | 7\cdot6!
7! | \frac{8!}{8}
\text{(D)} | \text{(D)}^2
\text{(D)} | \text{(D)}!
\text{(D)} | \text{(D)}+1
\text{(D)} | \text{(D)}\cdot 2
\text{(D)} | \text{(D)}/2
\text{(D)} | \text{(D)} is not it
\text{(D)} | \text{(D)} if x>0
\text{(D)} | \text{(D)} \text{ to the third}
B | B, 13
B | B=13
x=2,y=5 | 2x=2,y=5
x=2,y=5 | -x=2,y=5
x=2,y=5 | x^2=2,y=5
x=2,y=5 | \sqrt x=2,y=5
x=2,y=5 | x>2,y=5
x=1\text{ or }x=4 | y=1\text{ or }y=4
x=1\text{ or }x=4 | y=1\text{ or }x=4
x=1\text{ or }x=4 | f(x)+x=1\text{ or }x=4
x=1\text{ or }x=4 | 2x=1\text{ or }x=4
x=1\text{ or }x=4 | x>x=1\text{ or }x=4
x=1\text{ or }x=4 | |x|=1\text{ or }x=4
120^\circ | 120^\circ x
120^\circ | 120^\circx
120^\circ | 120^\circi
120^\circ | 120^{\circ\circ}
9\text{ m}^2 | 9\text{ m}^2.5
9\text{ m}^2 | 9\text{ m}^2e5
\mathbb{R} | \mathbb{R}\in\mathbb{R}
7 | \frac{14}{2}
7 | 14/2
7 | -\frac{14}{-2}
\frac{7}{12} | \frac{0.7}{1.2}
1024 | \frac{2048}{2}
(2,-3) | (\frac42,-3)
3x+7 | 3(x+2)+1
3x+7 | \frac{6x+14}{2}
x^2+5x+6 | (x+2)(x+3)+0
12\pi | \pi\cdot(\sqrt{12})^2
913 | -(-913)
-5 | -(-(-5))
913 | 913\cdot10^0
A\cup B | A\cup C
15\text{ mph} | 15 \text{ kph}
15\text{ mph} | 15 \text{ miles}
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
    "siblings": r"""
\frac13 | ⅓
\frac58 | ⅝
2\frac{3}{4} | 2¾
x^{10} | x¹⁰
2\sqrt{3} | 2√3
\sqrt{x+1} | √(x+1)
\sqrt{10} | √{10}
12 | 𝟏𝟐
\{1,2\} | ｛1，2｝
\mathbb{Z} | ℤ
5 | 5⁠
-\frac12 | −½
a\cdot b | a·b
3\times10^5 | 3×10⁵
10 | 10％ = 10％
x\in\mathbb{R} | x∈ℝ
\angle ABC | ∠ABC
\alpha+\beta | α+β
5 | 5米
5 | 5 个
60 | 60公里
60 | 60公里/小时
18 | 18元。
3 | 3小时
25 | 25岁
5 | 共5个
5 | 答：5
5 | 5\text{ man}\text{-}\text{hours}
5 | 5\,\text{kg}/\text{m}^3
5 | 5\,\mathrm{kg\cdot m/s}
5 | 5\text{ N}\cdot\text{m}
5 | 5\text{ ft-lb}
5 | 5 \frac{\text{km}}{\text{h}}
5 | 5\;\frac{\mathrm{m}}{\mathrm{s}^2}
5 | US\$5
5 | 5\$
5 | £5
5 | 5 cents
5 | 5¢
5 | 5\text{ days}
5 | 5 \text{ in}
5 | 5 \text{ inches}
5 | 5 \text{ cm.}
5 | 5 (\text{cm})
5 | 5\text{ cubic units}
5 | 5 \text{ unit}
5 | 5\text{ times}
5 | 5 \text{ pieces of candy}
5 | 5 \text{ more apples}
5 | 5\text{ children}
5 | 5\text{ cookies left}
5 | 5 \text{ dollars per hour}
5 | \$5 \text{ per hour}
5 | 5\text{ km per hour}
5 | 5 \text{ apples each}
120 | 5!=5\cdot4\cdot3\cdot2\cdot1=120
12 | f(2)+f(3)=5+7=12
\frac38 | P(X\ge 2)=\frac{3}{8}
\frac38 | P(X \geq 2) = \frac{3}{8} = 0.375
\frac12 | \sin 30^\circ=\frac12
\frac12 | \cos(60^\circ) = \frac{1}{2}
5 | \sqrt{3^2+4^2}=5
5 | \sqrt{25}=5
10 | \frac{5\cdot4}{2}=10
10 | {5 \choose 2}=10
6 | \operatorname{lcm}(2,3)=6
1 | \lim_{x\to0}\frac{\sin x}{x}=1
\frac13 | \int_0^1x^2dx=\frac13
4 | a_3=4
4 | n(A)=4
4 | n(A\cap B)=4
7 | |A\cup B|=7
13 | a+b=13
13 | a + b + c = 13
5 | x+y=5
4 | f(g(1))=4
4 | f'(2)=4
16 | S_{\triangle ABC}=16
16 | S=16
16 | \text{Area}=16 \text{ cm}^2
16 | \text{Area of triangle}=16
16 | \text{area} = 16
5 | \text{Maximum: }5
5 | \text{minimum value is }5
5 | \text{The number of ways is } 5
5 | \text{So the answer is } 5
5 | \text{Therefore, } x = 5
5 | x = 5 \text{ (approximately)}
5 | x=5.
5 | \underline{5}
5 | \underline{\underline{5}}
5 | \mathbf{5}
5 | \textbf{5.}
5 | **5**
5 | \color{red}{5}
5 | {\color{blue} 5}
5 | \Large 5
5 | \quad5\quad
5 | 5\;\checkmark
5 | 5 \, \text{.}
5 | \$5.00
5 | 5\text{ (units)}
5 | \approx5
5 | \text{approximately } 5
5 | \text{roughly } 5
7.25 | ≈ 7.25
7.25 | 7.25 \text{ (approx)}
(0,\infty) | \{x\in\mathbb{R}: x>0\}
(0,\infty) | x \in (0, +\infty)
(0,\infty) | \{x\,|\,x>0\}
[-1,1] | \{x \mid |x| \le 1\}
[-1,1] | |x|\le1
(1,3) | ]1;3[
(-\infty,0)\cup(0,\infty) | x\neq 0
(-\infty,0)\cup(0,\infty) | \mathbb{R}\setminus\{0\}
(-\infty,0)\cup(0,\infty) | \mathbb{R}-\{0\}
(-\infty,0)\cup(0,\infty) | \{x \mid x\ne0\}
\mathbb{R} | x\in\mathbb{R}
\mathbb{R} | \text{all real numbers}
\{1,2\} | x\in\{1,2\}
\{1,2\} | x_1=1, x_2=2
1,2 | x_1=1, x_2=2
1,2 | x=1, 2
1,2 | x = 1 \text{ or } 2
(1,2) | x=1 \text{ and } y=2
(1,2) | (x,y)=(1,2)
(1,2,3) | \begin{cases}x=1\\y=2\\z=3\end{cases}
(1,2) | \left\{\begin{array}{l}x=1\\y=2\end{array}\right.
x=1,y=2 | x=1\\y=2
x=k\pi,k\in\mathbb{Z} | k\pi\ (k\in\mathbb{Z})
\frac{d}{2} | \frac d2
\frac{dx}{2} | \frac{dx}{2}
3:4 | 3\colon4
3:4 | 3∶4
1:2:3 | 1 : 2 : 3
C | (C) A square
C | \text{(C) A square}
C | \text{C. A square}
C | \text{(C)}\ 12\text{ cm}
C | \mathbf{(C)}
C | \text{choice C}
C | \text{The answer is C}
C | C)
C | [C]
C | \boxed{C}
(C) | C
\text{(C)} | \textbf{C}
\text{Yes} | \textbf{Yes}
\text{True} | true
\text{Alice} | \text{alice}
\text{Alice} | Alice
\text{isosceles} | \text{an isosceles}
2x+1 | 1+2x
2x+1 | f(x)=2x+1
y=x^2 | x^2
x^2+1 | y=x^2+1
\frac{x+1}{2} | \frac12(x+1)
\frac{x+1}{2} | \frac{x}{2}+\frac12
\frac{a+b}{c} | (a+b)/c
e^x | \exp(x)
\ln x | \log_e x
\log 2 | \log_{10}2
\sqrt x | x^{1/2}
x^{-1} | \frac1x
\frac{1}{x^2} | x^{-2}
\sin x\cos x | \frac12\sin 2x
2^{n+1} | 2\cdot2^n
n! | n(n-1)!
C(n,2) | C(n,2)
\binom{n}{2} | \frac{n(n-1)}{2}
-3 | -3.0
0.125 | \frac18
1e3 | 1000
1000000 | 10^6
1000000 | 1\text{ million}
2500 | 2.5\times10^3
2500 | 2.5\cdot 10^{3}
\frac{2}{3} | 0.\overline{6}
\frac{2}{3} | 0.666666666666667
\frac{5}{2} | 2\tfrac12
45\% | 0.45
0.45 | 45\%
\begin{pmatrix}1\\2\end{pmatrix} | \begin{bmatrix}1\\2\end{bmatrix}
\begin{pmatrix}1\\2\end{pmatrix} | \begin{pmatrix}1.0\\2\end{pmatrix}
\begin{pmatrix}1&2\\3&4\end{pmatrix} | A=\begin{pmatrix}1&2\\3&4\end{pmatrix}
\langle1,2\rangle | \langle 1,2\rangle
3i+4j | 4j+3i
\vec{v} | v
6\text{ hours }20\text{ minutes} | 6\text{ hours and }20\text{ minutes}
30^\circ15' | 30°15′
7:30\text{ PM} | 7:30 p.m.
7:30\text{ PM} | 7:30
\frac{7}{12} | ⁷⁄₁₂
0.125 | 0,125
12\text{ cm}^2 | 12㎠
3\frac12 | 3\frac12\text{ hours}
(2,-3) | y=-3,x=2
(2,-3) | (r,h)=(2,-3)
(2,-3) | \text{the point }(2,-3)
18.50 | USD 18.50
25 | \text{a total of } 25
25 | \text{In total, } 25
25 | \text{the sum of the numbers is } 25
25 | 25 \text{ squares}
10\%, 20\% | 10, 20
\frac{14}{2} | \frac{14}{2}
\frac34 | \frac{6}{8}
-\frac34 | \frac{3}{-4}
12.5 | \frac{25}{2}
35\% | \frac{7}{20}
7 | x=\frac{14}{2}=7
913 | \text{nine hundred and thirteen}
A\cup B | B\cup A
\frac{x}{2}+1 | \frac{x+2}{2}
15\text{ mph} | 15 \text{ miles per hour}
15\text{ km/h} | 15 \text{ kph}
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
    ("7", r"$\boxed{7}$ cm."),
    ("7", r"\boxed{7}\text{ cm}"),
    ("50", r"$\boxed{50}\%$"),
    ("-7", r"$x=-\boxed{7}$"),
    ("7", r"First \boxed{5}. Correcting the mistake, we get \boxed{7}."),
    ("7", r"It is not 8 but \boxed{7}, since no other number fits."),
    ("7", "So she has **7** apples left."),
    (r"\begin{pmatrix}2\\7\end{pmatrix}", r"Answer: $\begin{pmatrix}2\\7\end{pmatrix}$"),
    ("D", "**(D)** 14"),
    ("C", "The correct option is C."),
    ("C", "**Answer: C. 18 cm**"),
    ("18", "The value of x is 18."),
    ("18", r"The remaining amount is \boxed{18}, not 20."),
    ("18", "\\boxed{18}\n\nNote that this isn't the only method."),
    (r"\frac12", r"$\boxed{\frac12}$ or $50\%$"),
    (r"\frac12", r"\boxed{\frac12} or 0.5"),
    ("12", "The answer is that he needs 12 of them."),
    ("4", "7+9=6\n6-2=4"),
    ("-4", "The temperature has changed.\nIt is now -4."),
    ("4", "In all there are these apples\n* 4"),
    ("4", "We count.\nThere are *4*"),
    ("4", "At 20+ people\nit is 4."),
    ("3/4", "We divide.\n3/4"),
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
    ("7", r"\boxed{7}0"),
    ("7", r"1\boxed{7}"),
    ("7", r"$\boxed{7}^2$"),
    ("7", r"$\boxed{7}!$"),
    ("7", r"$\boxed{7}x$"),
    ("7", r"$\boxed{7} \pi$"),
    ("7", r"$\boxed{7}\cdot 2$"),
    ("7", r"$\boxed{7},8$"),
    ("7", r"$\boxed{7}+1$"),
    ("7", r"-\boxed{7}"),
    ("7", r"$1+\boxed{7}$"),
    ("7", r"$3\cdot\boxed{7}$"),
    ("7", r"$\sqrt{\boxed{7}}$"),
    ("7", r"$\frac{1}{\boxed{7}}$"),
    ("7", r"$2^{\boxed{7}}$"),
    ("7", r"It cannot be \boxed{7}."),
    ("7", r"\boxed{7} can't be right."),
    ("7", r"\boxed{7} is not the answer."),
    ("7", r"\boxed{7} would be wrong."),
    ("7", r"\boxed{7}? No, 8."),
    ("7", r"\boxed{7}, no wait, 8"),
    ("7", r"First guess: \boxed{8}. Or \boxed{7}."),
    ("7", r"\boxed{7} or 8"),
    ("7", r"\boxed{7} or maybe not"),
    ("7", r"either \boxed{7} or maybe 8"),
    ("7", "The answer is 7 squared"),
    ("7", "The answer is 7 dozen."),
    ("7", "The answer is at least 7"),
    ("7", "The answer is between 6 and 7"),
    ("7", "7 is not the answer"),
    ("7", "Maybe 6, or 7"),
    ("5", "The answer is not 5"),
    ("5", "The answer is 5 or 6"),
    ("5", "7+9=6\n6-2=4\n4+5="),  # cut in the middle of a formula: its last number is an operand
    ("5", "7+9=6\n6-2=4\n4+5"),
    ("5", "We add them.\n4 + 5"),
    ("5", "We add them.\n4 +5 ="),
    ("5", "We add them.\n5-"),
    ("5", "We add them.\n9 - 5"),
    ("5", "We multiply.\n5 *"),
    ("5", "We multiply.\n5 \\times"),
    ("5", "We multiply.\n3 × 5"),
    ("5", "We divide.\n5/"),
    ("5", "We have the power\n5^{10}"),
    ("5", "We have the line\n3x + 5"),
    ("5", r"\boxed{" + "x" * 700 + "}"),
    ("5", r"\boxed{5} \boxed{" + "6+" * 400 + "5}"),
]


def pairs(table: dict[str, str]) -> list[tuple[str, str, str]]:
    """Kind, reference and answer of every line."""
    lines = [(kind, line.partition(" | ")) for kind, rows in table.items() for line in rows.strip("\n").split("\n")]
    return [(kind, gold, given) for kind, (gold, _, given) in lines]

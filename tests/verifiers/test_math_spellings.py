"""Spellings of one answer and near misses, both ways; each line is `reference | content of the box`."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from hsd_jax.verifiers import math
from hsd_jax.verifiers.equivalence import extraction

SAME = r"""
7 | x = 7
x = 7 | 7
7 | x=7.
7 | y = 7
7 | n=7
x=7 | 7 = x
7 | \text{The answer is } 7
7 | \text{The final answer is }7
7 | Answer: 7
7 | \text{x} = 7
7 | \mathbf{7}
7 | \mathrm{7}
7 | \textbf{7}
7 | \underline{7}
7 | \displaystyle 7
7 | \color{red}{7}
7 | {7}
7 | (7)
7 | +7
7 | 07
7 | 7.000
7 | seven
seven | 7
\text{two} | 2
2 | \text{two}
twelve | 12
-3 | \text{negative three}
-3 | -\ 3
-3 | −3
-3 | \left(-3\right)
\frac{3}{8} | 0.375
\frac{3}{8} | .375
\frac38 | 3/8
\frac{3}{8} | \dfrac{3}{8}
\frac{3}{8} | \tfrac 3 8
\frac{3}{8} | {3 \over 8}
\frac{3}{8} | 3 \div 8
-\frac{3}{8} | \frac{3}{-8}
-\frac{3}{8} | \frac{-3}{8}
-\frac{3}{8} | -3/8
\frac{3}{8} | \frac{6}{16}
\frac{3}{8} | 37.5\%
37.5\% | \frac{3}{8}
37.5\% | 37.5
37.5 | 37.5\%
37.5\% | 37.5 \text{ percent}
12.5\% | 0.125
12\frac{1}{2}\% | 12.5\%
12\frac{1}{2} | 12.5
12\frac12 | \frac{25}{2}
12 \frac{1}{2} | 12\ 1/2
12\frac{1}{2} | 12\tfrac12
-2\frac{1}{3} | -\frac{7}{3}
15,300 | 15300
15300 | 15{,}300
15300 | 15\,300
15300 | 15 300
15300 | 15,\!300
15,300.50 | 15300.5
1,234,567 | 1234567
\$1,250 | 1250
1250 | \$1250.00
1250 | \$1{,}250
1250 | 1250 \text{ dollars}
\$0.75 | 0.75
75 \text{ cents} | 75
75 | 75\text{ cents}
75 | 75 cents
€12 | 12
12 | 12 \text{ euros}
£12 | 12
12 | ₹12
120^\circ | 120
120 | 120^\circ
120^{\circ} | 120 \text{ degrees}
120 | 120 degrees
120° | 120
120 | 120\degree
35 \text{ cm} | 35
35 | 35 \text{ cm}
35 | 35\,\text{cm}
35 | 35\ \mathrm{cm}
35 | 35~cm
35 | 35 cm
35\text{ cm} | 35 \text{ centimeters}
35\text{ cm}^2 | 35
35 | 35\text{ cm}^2
35\text{ cm}^2 | 35\text{ cm}^{2}
35\text{ cm}^2 | 35 \text{ square centimeters}
35 | 35 \text{ square units}
35 | 35 \text{ units}^2
35 | 35 \text{ units}^{3}
35 | 35\text{ km/h}
35 \text{ mph} | 35
35 \text{ miles per hour} | 35
35 | 35 \text{ miles per hour}
35\text{ m/s} | 35 \text{ m/s}
35 | 35 \text{ apples}
35 | 35 \text{ red marbles}
35 | 35 \text{ people}
35 \text{ minutes} | 35
35 | 35 \text{ hours}
35 | 35\text{ kg}
16\pi | 16\pi \text{ cm}^2
16\pi | 16 \pi
16\pi | \pi \cdot 16
16\pi | 16π
16\pi | 16 pi
\frac{2\pi}{3} | \frac{2}{3}\pi
\frac{2\pi}{3} | 2\pi/3
\frac{2\pi}{3} | \frac23\pi
5\sqrt{3} | 5 \sqrt 3
5\sqrt{3} | \sqrt{75}
5\sqrt{3} | 5\cdot\sqrt{3}
5\sqrt{3} | 5\times\sqrt{3}
5\sqrt{3} | 5*sqrt(3)
5\sqrt{3} | 5√3
5\sqrt{3} | 5 \cdot 3^{1/2}
5\sqrt{3} | \frac{15}{\sqrt{3}}
5\sqrt{3} | 5\sqrt{3}\text{ units}
\frac{\sqrt{6}}{3} | \sqrt{\frac{2}{3}}
\frac{\sqrt{6}}{3} | \frac{\sqrt6}3
\sqrt[3]{2} | 2^{1/3}
\sqrt[3]{2} | 2^{\frac{1}{3}}
\frac{1+\sqrt{5}}{2} | \frac{\sqrt5+1}{2}
\frac{1+\sqrt{5}}{2} | \frac12+\frac{\sqrt5}{2}
\frac{1+\sqrt{5}}{2} | (1+\sqrt{5})/2
2-\sqrt{3} | -\sqrt3+2
2-\sqrt{3} | \frac{1}{2+\sqrt{3}}
3+4i | 4i+3
3+4i | 3 + 4\mathrm{i}
3-4i | 3 - 4 i
-i | \frac{1}{i}
e^{i\pi/3} | e^{\frac{\pi i}{3}}
\frac12+\frac{\sqrt3}{2}i | \frac{1+i\sqrt{3}}{2}
\ln 3 | \log_e 3
\ln 3 | \ln(3)
\ln 2 | \frac{1}{2}\ln 4
\log_2 3 | \frac{\ln 3}{\ln 2}
x^2-4 | (x-2)(x+2)
x^2-4 | x^{2} - 4
x^2-4 | -4+x^2
(x-2)(x+2) | (x+2)(x-2)
\frac{x^2-1}{x-1} | x+1
\frac{1}{x}+\frac{1}{y} | \frac{x+y}{xy}
2x+3 | 3+2x
f(x)=2x+3 | 2x+3
2x+3 | f(x) = 2x+3
y = 2x+3 | y=3+2x
y = 2x+3 | 2x - y + 3 = 0
y=2x+3 | 2x+3
x^2+y^2=9 | x^2 + y^2 - 9 = 0
(x-1)^2+(y+2)^2=9 | (y+2)^2+(x-1)^2=9
(x-1)^2+(y+2)^2=9 | (x-1)^2+(y+2)^2=3^2
\frac{x^2}{9}+\frac{y^2}{4}=1 | 4x^2+9y^2=36
\sin^2 x | 1-\cos^2 x
\cos 2x | 2\cos^2 x - 1
\frac{1}{2}\sin(2\theta) | \sin\theta\cos\theta
e^{2x} | (e^x)^2
a^2+2ab+b^2 | (a+b)^2
\frac{n(n+1)}{2} | \frac{1}{2}n(n+1)
2^{n}-1 | 2^n - 1
2^{n+1} | 2\cdot 2^n
n! | n!
(3,5) | (3, 5)
(3,5) | \left(3,5\right)
(3,5) | ( 3 , 5 )
(3,5) | (x,y)=(3,5)
(3,5) | x=3, y=5
x=3, y=5 | (3,5)
x=3, y=5 | y=5, x=3
(\frac12,-3) | (0.5,-3)
(\frac12,-3) | \left(\tfrac{1}{2}, -3\right)
(1,2,3) | (1, 2, 3)
(1,2),(3,4) | (3,4),(1,2)
(1,2),(3,4) | \{(1,2),(3,4)\}
(1,2),(3,4) | (1,2) \text{ and } (3,4)
(1,2),(3,4) | (1,2); (3,4)
A(1,2) | (1,2)
(1,2) | A(1,2)
(1,2) | A=(1,2)
\langle 2,-1\rangle | \langle 2, -1 \rangle
\begin{pmatrix}2\\-1\end{pmatrix} | \begin{bmatrix}2\\-1\end{bmatrix}
\begin{pmatrix}2\\-1\end{pmatrix} | \begin{pmatrix} 2 \\ -1 \end{pmatrix}
\begin{pmatrix}1&0\\0&1\end{pmatrix} | \begin{bmatrix}1 & 0\\ 0 & 1\end{bmatrix}
\begin{pmatrix}1/2&0\\0&1\end{pmatrix} | \begin{pmatrix}0.5&0\\0&1\end{pmatrix}
\begin{pmatrix}1&2\\3&4\end{pmatrix} | \left(\begin{matrix}1&2\\3&4\end{matrix}\right)
\{2,5\} | \{5, 2\}
\{2,5\} | 2, 5
\{2,5\} | 2 \text{ and } 5
\{2,5\} | x=2 \text{ or } x=5
\{2,5\} | x=2, x=5
\{2,5\} | x \in \{2,5\}
2,5 | 5,2
2,5 | 2 and 5
2 \text{ and } 5 | 5 \text{ and } 2
2, 5, \text{ and } 9 | 2,5,9
2,5,9 | \{2,5,9\}
2,5,9 | 2, 5 \text{ and } 9
\pm 4 | 4, -4
\pm 4 | x = \pm 4
\pm 4 | -4 \text{ and } 4
4,-4 | \pm 4
\pm\sqrt{7} | \sqrt7, -\sqrt7
2\pm\sqrt{3} | 2+\sqrt3, 2-\sqrt3
2\pm\sqrt{3} | 2+\sqrt3 \text{ and } 2-\sqrt3
\frac{1\pm\sqrt5}{2} | \frac{1+\sqrt5}{2},\frac{1-\sqrt5}{2}
\frac{1\pm\sqrt5}{2} | x=\frac{1\pm\sqrt{5}}{2}
(2,5) | 2<x<5
2<x<5 | (2,5)
2<x<5 | x \in (2,5)
2<x<5 | 5>x>2
[2,5] | 2\le x\le 5
[2,5) | 2 \leq x < 5
[2,5] | x\in[2,5]
(-\infty,3] | x \le 3
x \le 3 | (-\infty,3]
x\geq -1 | [-1,\infty)
x\geq -1 | [-1,+\infty)
x\geq -1 | x \geqslant -1
x\geq -1 | -1 \leq x
x\geq -1 | x ≥ -1
(-\infty,2)\cup(5,\infty) | x<2 \text{ or } x>5
(-\infty,2)\cup(5,\infty) | (5,\infty)\cup(-\infty,2)
(-\infty,2)\cup(5,\infty) | (-\infty, 2) \bigcup (5, +\infty)
(-\infty,2)\cup(5,\infty) | x \in (-\infty,2)\cup(5,\infty)
(-\infty,2) \cup (2,\infty) | x \neq 2
x \neq 2 | \mathbb{R}\setminus\{2\}
(-\infty,\infty) | \mathbb{R}
\mathbb{R} | \text{all real numbers}
\text{all real numbers} | (-\infty, \infty)
\emptyset | \varnothing
\emptyset | \text{no solution}
\text{no solution} | \text{No solutions}
\infty | +\infty
\text{A} | A
A | (A)
(A) | A
\text{(A)} | \text{A}
A | \textbf{(A)}
A | \text{A.}
A | A)
A | \text{(A) } 42
\textbf{(A)}\ 42 | A
B | B. 17
\text{Yes} | yes
yes | \text{Yes}
\text{True} | true
\text{Tuesday} | Tuesday
\text{Anna} | \text{Anna}
\text{odd} | odd
\text{ellipse} | \text{an ellipse}
3:45 | 3:45
3{:}45 | 3:45
3:45 \text{ p.m.} | 3:45 \text{ PM}
3:45 \text{ PM} | 3:45
3:4 | 3:4
3:4 | 3 : 4
3:4 | 3\colon 4
3:4 | 3 \text{ to } 4
2.5\times 10^{6} | 2500000
2.5\times 10^{6} | 2.5 \cdot 10^6
2.5\times 10^{6} | 2,500,000
2.5\times 10^{6} | 2.5e6
2.5\times10^{-3} | 0.0025
6.02\times 10^{23} | 6.02 \times 10^{23}
10^{6} | 1000000
1000000 | 10^6
1.5 \text{ million} | 1500000
0.\overline{27} | \frac{3}{11}
\frac{3}{11} | 0.\overline{27}
0.1\overline{6} | \frac16
0.\overline{3} | 0.\overline{3}
1010_2 | 1010_{2}
1010_2 | 1010_{\text{two}}
1010_2 | (1010)_2
1010_2 | 1010_{(2)}
2^{10} | 2^{10}
2^{10} | 1024
2^{100} | 2^{100}
10! | 10!
10! | 3628800
\binom{8}{3} | \binom{8}{3}
\binom{8}{3} | 56
5^{12}-1 | 5^{12} - 1
3^{20} | 9^{10}
\frac{1}{2^{10}} | 2^{-10}
\frac{1}{2^{10}} | \frac{1}{1024}
\frac{\pi}{4}-\frac12 | \frac{\pi-2}{4}
\arctan 2 | \tan^{-1} 2
\arctan 2 | \tan^{-1}(2)
\arcsin\frac13 | \sin^{-1}\frac{1}{3}
\sin 40^\circ | \sin(40^\circ)
\cos\frac{\pi}{7} | \cos(\pi/7)
\max(a,b) | \max(a,b)
\lfloor x\rfloor | \lfloor x \rfloor
k=3 | 3
\angle ABC = 35^\circ | 35
35^\circ | \angle ABC=35^\circ
AB = 12 | 12
P(A)=\frac15 | \frac{1}{5}
\frac{1}{5} | P = \frac15 = 0.2
\frac{1}{5} | \frac{1}{5} = 0.2
\frac{1}{3} | \frac13 \approx 0.333
\frac{2}{3} | \frac23 \approx 0.66
6 | 6 hrs
A,C | C,A
(A), (C) | A \text{ and } C
\text{A and B} | A, B
(B),(C),(D) | \text{B, C and D}
6 | 6{}
6 | `6`
(1,2) | P(1,2)
\begin{pmatrix}1\\2\end{pmatrix} | \begin{pmatrix} 1 \\[4pt] 2 \end{pmatrix}
12345 | 12345 \approx 12300
100\pi | 100\pi \approx 314
99.6 | 99.6 \approx 100
7 | \approx 7
3.14 | \approx 3.14
7 | 7\checkmark
7 | 7 \quad
7 | \ 7\ 
a_n = 3n+1 | 3n+1
3n+1 | a_n=3n+1
a_{10}=31 | 31
S = \{1,3\} | \{1,3\}
1 \text{ or } 3 | \{1,3\}
x=1 \text{ and } y=3 | (1,3)
(x,y)=(1,3) | x=1,y=3
c = -\frac{b}{a} | -\frac{b}{a}
\frac{a}{b} | a/b
\frac{a+b}{2} | (a+b)/2
\sqrt{x^2+1} | (x^2+1)^{1/2}
4x^3-3x | x(4x^2-3)
-x+5 | 5-x
\frac{5}{x-2} | 5/(x-2)
|x-3| | |3-x|
\frac{\ln x}{x} | \frac{1}{x}\ln x
x\ln x - x + C | x \ln x - x + C
\frac{x^3}{3}+C | \frac{1}{3}x^3+C
100 | 10^2
0 | -0
0 | 0.00
1/3 | \frac{1}{3}
March 5 | \text{March 5}
\text{March 5} | March 5
20\% | 1/5
0.2 | 20\%
6 \text{ hours } 20 \text{ minutes} | 6 hours 20 minutes
1:2:3 | 1:2:3
1.5 | 1\frac{1}{2}
1.5 | 1 \frac12
2.0 | 2
99 | 99.
99 | $99$
99 | \(99\)
99 | \[99\]
99 | 99\\
\frac{7}{9} | \frac{7}{9}\\
"""
DIFFERENT = r"""
7 | 3+4
7 | \sqrt{49}
7 | |-7|
2\frac{1}{3} | 2+\frac13
x(x+1) | x^2+x
2(x+y) | 2x+2y
7 | 8
7 | -7
7 | 7x
7 | 7.1
7 | 70
7 | 7,8
7 | x=7, x=8
7 | x>7
7 | x\ge 7
7 | x \ne 7
7 | \text{not } 7
7 | 7 \text{ or } 8
7 | 6 \text{ to } 8
7 | \text{seventy}
7 | 7 \pm 1
7 | 7^2
7 | 7!
7 | 7_8
0.07 | 7
7 | \frac{7}{100}
7 | 0.7
7 | \text{The answer is not } 7
7 | [7,8]
7 | \{7,8\}
7 | (7,7)
7 | y + 7
7 | 7 = 8
7 | x = y = 7 = 8
2 | \text{twelve}
12 | 1 2
12 | 1,2
(1,2) | 1.2
123 | 1,23
\frac{3}{8} | \frac{8}{3}
\frac{3}{8} | 0.38
\frac{3}{8} | 0.3751
\frac{3}{8} | 3.8
\frac{2}{3} | 0.67
\frac{2}{3} | 0.6666667
2\frac{1}{3} | \frac{2}{3}
2\frac{1}{3} | 2.33
15300 | 15.300
15300 | 15,30
15300 | 153,00
1250 | \$12.50
35\text{ cm} | 35\text{ m}
35\text{ cm} | 35 \text{ cm}^2
35\text{ cm}^2 | 35 \text{ cm}^3
35\text{ kg} | 35\text{ g}
35 \text{ minutes} | 35 \text{ hours}
35 \text{ mph} | 35 \text{ km/h}
120^\circ | \frac{2\pi}{3}
16\pi | 16
16\pi | 50.27
5\sqrt{3} | 8.66
5\sqrt{3} | 3\sqrt{5}
\sqrt{3} | 1.7320508
3+4i | 3-4i
3+4i | 5
x^2-4 | x^2+4
x^2-4 | y^2-4
x^2-4 | (x-2)^2
2x+3 | 2x-3
y=2x+3 | y = 3x+2
y=2x+3 | x = 2y+3
x^2+y^2=9 | x^2+y^2=3
(3,5) | (5,3)
(3,5) | [3,5]
(3,5) | 3,5,7
(3,5) | \{3,5\}
(3,5) | (3,5,0)
x=3,y=5 | x=5,y=3
x=3,y=5 | (5,3)
(1,2),(3,4) | (1,2)
(1,2),(3,4) | (2,1),(4,3)
(1,2),(3,4) | (1,2,3,4)
\begin{pmatrix}2\\-1\end{pmatrix} | \begin{pmatrix}-1\\2\end{pmatrix}
\begin{pmatrix}1&2\\3&4\end{pmatrix} | \begin{pmatrix}1&2&3&4\end{pmatrix}
\begin{pmatrix}1&2\end{pmatrix} | \begin{pmatrix}1\\2\end{pmatrix}
\{2,5\} | \{2\}
\{2,5\} | \{2,5,7\}
2,5 | 2
2,5 | 2,6
2,5,9 | 9,5,2,1
\pm 4 | 4
\pm 4 | -4
4 | \pm 4
2\pm\sqrt3 | 2+\sqrt3
(2,5) | 2\le x\le5
[2,5] | (2,5)
[2,5) | (2,5]
x\ge -1 | x > -1
x\ge -1 | x \le -1
x\ge -1 | -1
x > 3 | 3
(-\infty,3] | (3,\infty)
(-\infty,2)\cup(5,\infty) | (2,5)
(-\infty,2)\cup(5,\infty) | (-\infty,2]\cup[5,\infty)
\mathbb{R} | \mathbb{Z}
\emptyset | 0
\emptyset | \mathbb{R}
A | B
A | \text{A or B}
A | A, B
A | ABCD
A | (A)(B)
A | \text{(A) B}
A | a
yes | no
yes | \text{yes and no}
\text{odd} | \text{even}
\text{Tuesday} | \text{Thursday}
3:45 | 4:45
3:45 | 3.45
3:4 | 4:3
3:4 | 0.75
3:45 \text{ PM} | 3:45 \text{ AM}
2.5\times10^6 | 2.5\times10^5
2.5\times10^6 | 2.5
0.\overline{27} | 0.27
0.\overline{27} | 0.2727
1010_2 | 1010
1010_2 | 10
1010_2 | 1010_3
2^{10} | 2^{11}
1024 | 2^{10}
3628800 | 10!
56 | \binom{8}{3}
f' | f
x' | x
f''(x) | f'(x)
x_1 | x_2
x_1 | x
\sin x | \cos x
\sin x | \sin y
e^x | e^{-x}
e | 2.71828
\pi | 3.14
\pi | \frac{22}{7}
\infty | -\infty
-\infty | \infty
0 | \emptyset
0 | 10^{-9}
\frac{1}{5} | \frac{1}{5} = 0.3
\frac{1}{5} | 0.3 = \frac15
\frac{1}{3} | \frac{1}{4} \approx \frac{1}{3}
100 | 100 \approx 99
A,C | A
A,C | C
(A),(C) | (A)
\text{A and B} | A
\text{A, C} | C
A,B,D | A
A,B,D | A,D,B
A,B | A,B,C
100 | 100 \approx 99.5
1000 | 1000 \approx 990
-100 | -100 \approx -101
100\pi | 100\pi \approx 313
\sqrt{2} | \sqrt2 \approx 1.40
a_n=3n+1 | 3n-1
a_{10}=31 | 10
P(A)=\frac15 | P(A)=\frac14
k=3 | k=-3
\frac{a}{b} | \frac{b}{a}
a+b | a-b
n | N
6 \text{ hours } 20 \text{ minutes} | 6 hours 30 minutes
1:2:3 | 3:2:1
March 5 | March 6
\text{March 5} | 5
5 | \text{March 5}
1/2 | 12
1/2 | 1,2
10 | \frac{10}{10}
p=5,q=2 \text{ and } p=7,q=3 | p=5,q=3;p=7,q=2
x=1,y=2 \text{ or } x=2,y=1 | x=1,y=1 \text{ or } x=2,y=2
"""


def pairs(table: str) -> list[tuple[str, str]]:
    return [(gold.strip(), given) for gold, _, given in (line.partition(" | ") for line in table.strip().split("\n"))]


def graded(table: str) -> dict[tuple[str, str], float]:
    with ThreadPoolExecutor(2) as threads:
        verdicts = threads.map(lambda pair: math.grade(rf"So we get $\boxed{{{pair[1]}}}$.", pair[0]), pairs(table))
        return dict(zip(pairs(table), (verdict.reward for verdict in verdicts), strict=True))


def test_other_spellings_are_accepted() -> None:
    rewards = graded(SAME)
    assert len(rewards) > 300
    assert [pair for pair, reward in rewards.items() if reward != 1.0] == []


def test_near_misses_are_refused() -> None:
    rewards = graded(DIFFERENT)
    assert len(rewards) > 150
    assert [pair for pair, reward in rewards.items() if reward != 0.0] == []


@pytest.mark.parametrize(
    ("response", "extracted"),
    [
        ("We are done. Final Answer: The final answer is $41$. I hope it is correct. Note: 3 and 4.", "4"),
        (r"\boxed{3} The final answer is $\frac{2}{7}$. I hope it is correct.", r"$\frac{2}{7}$"),
        (r"The final answer is $41$. I hope it is correct. No: \boxed{3}", "3"),
        ("The final answer is $41$. I hope it is correct. The final answer is $43$. I hope it is correct.", "$43$"),
        (r"$$\boxed{5}$$ \boxed{17}", "17"),
        (r"\boxed{5}, \boxed{17}", r"5 \text{ and } 17"),
        (r"It isn't \boxed{5}", r"\unclear \text{ and } 5"),
        (r"so $x \neq \boxed{5}$", r"\unclear \text{ and } 5"),
        (r"Hence $x = -\boxed{5}$.", "-5"),
        (r"\(-\boxed{1-x}\)", "-(1-x)"),
        ("The answer:\n- \\boxed{5}", "5"),
        ("剩下的苹果一共是29个。", "29"),
        ("поэтому получилось 6 1/4", "6 1/4"),
        ("an increase of 12 percent", "12 percent"),
        ("there were $ many of them so 8$", "8"),
    ],
)
def test_what_a_response_commits_to(response: str, extracted: str) -> None:
    assert extraction.extract(response) == extracted

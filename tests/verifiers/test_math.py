"""Answers that mean the same are accepted, answers that do not are refused, and the reason says why."""

# ruff: noqa: E501 - tables of texts read best unwrapped

import threading

import pytest

from hsd_jax.verifiers import math, pool
from hsd_jax.verifiers.equivalence import extraction, forms, grammar, tokens

# reference answer, given answer
SAME = [
    ("1/2", "0.5"), (r"\frac{1}{2}", "2/4"), (r"-\frac{3}{4}", r"\frac{-3}{4}"), (r"3\frac{1}{2}", r"\frac{7}{2}"),
    ("3 1/2", "7/2"), ("1,000,000", "1000000"), ("10{,}000", "10000"), (r"1\,000", "1000"), (r"\$32,\!348", "32348"),
    ("204", "204."), ("016", "16"), (".185", "0.185"), ("7", "7.0"), (r"50\%", "50"), (r"50\%", "0.5"), ("0.35", r"35\%"),
    ("1.22", "1,22"), (r"0.\overline{3}", r"\frac13"), (r"1.5\times 10^{3}", "1500"), 
    ("0.0833333333333333", r"\frac{1}{12}"), ("4.123105625617661", r"\sqrt{17}"), (r"\$5.00", "5"), (r"90^\circ", "90"),
    (r"3\text{ cm}", "3"), ("3", r"3\text{ cm}"), (r"3\text{ cm}^2", r"3 \text{ square centimeters}"), ("60", r"60 \text{ km/h}"),
    (r"8\text{ minutes}", r"8\text{ min}"), (r"25\pi", r"25 \pi \text{ cm}^2"), (r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt2}"),
    (r"\sqrt{8}", r"2\sqrt{2}"), (r"\sqrt[3]{4}", "2^{2/3}"), ("e^{2}", "e^2"), (r"\frac{\pi}{6}", r"\pi/6"),
    (r"\frac{\sqrt{3}}{3}", r"\frac{\sqrt{3}}{3} \approx 0.577"), ("5", "x=5"), ("x=5", "5"), (r"|AB|=1", "1"), ("f(x)=x^2", "x^2"),
    ("11", r"x\approx11"), ("x = 11", "x = 5+6 = 11"), ("x^2+2x+1", "(x+1)^2"), (r"\tan^2(y)+1", r"\sec^2(y)"),
    (r"2\sin x\cos x", r"\sin 2x"), ("2x+3y=6", "3y+2x=6"), ("34x+45y-20z+100=0", "-34x-45y+20z-100=0"), ("2x+4y-3=0", r"y=-\frac{1}{2}x+\frac{3}{4}"),
    ("(1,2)", r"\left(1,\,2\right)"), (r"(\frac12,3)", "(0.5,3)"), (r"\left\langle 1,2\right\rangle", r"\langle 1, 2\rangle"),
    (r"[0,\infty)", r"x\ge 0"), ("-1<x<2", "(-1,2)"), ("x>3", "3<x"), ("x < 1", "-x > -1"), (r"x \in [-2,7]", r"-2 \le x \le 7"),
    (r"(-\infty,-1)\cup(1,\infty)", r"x<-1 \text{ or } x>1"), (r"1\leq|z|\leq \frac{3}{2}", r"[-\frac32,-1]\cup[1,\frac32]"),
    (r"\mathbb{R}", r"(-\infty,\infty)"), (r"\emptyset", r"\{\}"), (r"\{1,2,3\}", r"\{3,2,1\}"), (r"\{1,2\}", "1, 2"),
    ("1,2", "2,1"), (r"x = 1 \text{ or } x = 2", "1,2"), (r"1\pm\sqrt{2}", r"1+\sqrt2, 1-\sqrt2"), (r"\pm 3", "-3, 3"),
    ("(2,1),(1,2)", "(1,2), (2,1)"), ("a=4,-8,-10", "-10,-8,4"), ("m = 2, n = 3", "(2,3)"), ("-12;-11", r"\{-12, -11\}"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{bmatrix} 1 & 2 \\ 3 & 4 \end{bmatrix}"), (r"\begin{pmatrix}1/2\\2\end{pmatrix}", r"\begin{pmatrix}\frac12\\ 2\end{pmatrix}"),
    ("101_2", r"(101)_{2}"), ("7:32", "7:32"), (r"\text{A}", "(A)"), ("A", r"\textbf{A}"), (r"\text{Evelyn}", "Evelyn"),
    (r"\text{even}", "Even"), ("5!", "5!"), (r"\binom{5}{2}", r"\binom{5}{2}"), ("0", "0.0"), ("-0", "0"), (r"\sin x", "sin x"), ("5", "５"), ("72", r"\boxed{72}"),
]  # fmt: skip
DIFFERENT = [
    (r"\frac{1}{32}", "2^{-5}"),
    ("3", r"\log_2 8"),
    ("10", "9+1"),
    ("5", "6"), ("5", "5.001"), ("1/3", "0.333"), ("0.28", "28"), ("28", "28/100"), ("x^2+2x+1", "x^3+2x+1"), ("odd", r"\text{oddd}"),
    (r"\sqrt{67},-\sqrt{85}", r"\sqrt{67}"), ("10,4,-2", "4,10,-2"), ("(1,2,3)", "(3,2,1)"), ("[0,1)", "[0,1]"), ("x > 5", "x < 5"),
    (r"x \geq 5", r"x \leq 5"), ("7 = 11a+c", "11a+c"), ("a+3z=0", "0"), ("2", r"\frac{1+\sqrt{5}}{2}"), ("4", r"4\sqrt{2}"),
    ("x+2n+1", "x+1"), (r"1-\frac1e", r"1+\frac1e"), (r"\pm 2021", "2021"), ("12:00", "1:00"), ("f(x)", "f(y)"), ("1, 2, 3", "1, 2, 3, ..."),
    ("2", "2^{10}"), ("(3,1)", r"\{1,3\}"), ("32349", "32, 349"), ("40/9", "4"), (r"\frac{1}{2}x", r"\frac{1}{2}"), ("100", "10"),
    (r"\{1,2\}", r"\{1,2,3\}"), (r"\infty", r"-\infty"), ("n", "m"), ("1", "1_2"), ("1024", "2^{10}"), ("5", "4.9999999999"), ("5", r"5 \text{ is wrong}"), ("x=2", "y=2"), (r"\pi", "3.141592654"), ("E", r"\mathrm{E}*2"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "given"), SAME)
def test_equal_answers_are_accepted(answer: str, given: str) -> None:
    assert math.grade(rf"So the answer is $\boxed{{{given}}}$.", answer).reason == "correct"


@pytest.mark.parametrize(("answer", "given"), DIFFERENT)
def test_other_answers_are_refused(answer: str, given: str) -> None:
    verdict = math.grade(rf"So the answer is $\boxed{{{given}}}$.", answer)
    assert verdict.reward == 0.0 and verdict.reason in ("wrong", "unknown words", "unparsed")


@pytest.mark.parametrize(
    ("response", "extracted"),
    [
        (r"\boxed{1} then \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}} and more", r"\frac{1}{2}"),
        (r"\boxed{1} and \boxed{2}", r"1 \text{ and } 2"),
        (r"\boxed{\boxed{5}}", "5"),
        (r"\fbox{5}", "5"),
        (r"\boxed 5", "5"),
        (r"<think>\boxed{1}</think> so 12 eggs", "so 12 eggs"),
        ("The answer is 1,234 dollars.", "1,234 dollars."),
        ("We get $x=\\frac{3}{4}$.", r"We get $x=\frac{3}{4}$."),
        ("It costs -3.5 in total", "-3.5"),
        (r"\boxed{5", None),
        (r"\boxed{}", None),
        ("none", "none"),
        ("I do not know", None),
        ("", None),
    ],
)
def test_the_last_commitment_is_read(response: str, extracted: str | None) -> None:
    assert extraction.extract(response) == extracted


def test_reasons() -> None:
    assert math.grade("I do not know", "5").reason == "no_answer"
    assert math.grade(r"\boxed{6}", "5").reason == "wrong"
    assert math.grade(r"\boxed{\frac{}{}\sqrt}", r"\sqrt{2}").reason == "unparsed"
    assert math.grade(r"\boxed{x^{9^{9^9}}}", "x^{8^{9^9}}").reason == "timeout"


def test_references_in_data_set_form_are_read() -> None:
    assert math.grade(r"\boxed{72}", "Natalia sold 48/2 = 24 clips in May.\n#### 72").reward == 1.0
    assert math.grade(r"\boxed{72}", r"We add. $\boxed{72}$ is the answer.").reward == 1.0


def test_wrong_types_are_refused() -> None:
    with pytest.raises(TypeError, match="int"):
        math.grade(r"\boxed{5}", 5)  # type: ignore[arg-type]


def test_easy_answers_need_no_worker() -> None:
    for answer, given in [
        ("5", "5"),
        ("1/2", "0.5"),
        ("(1,2)", "(2,1)"),
        ("[0,1)", r"0 \le x < 1"),
        ("12", r"\frac{24}{2}"),
    ]:
        assert math.grade_easy(rf"\boxed{{{given}}}", answer) is not None


def number(text: str) -> forms.Number | None:
    return forms.number(grammar.read(tokens.tokens(text)))


def test_a_number_is_exact() -> None:
    assert number("0.1").value == number(r"\frac{1}{10}").value  # type: ignore[union-attr]
    assert number("1" + "0" * 300).value == 10**300  # type: ignore[union-attr]
    assert number("1/0") is None


def test_the_one_spelling_is_its_own_spelling() -> None:
    for answer, given in SAME + DIFFERENT:
        for text in (answer, given):
            assert tokens.canonical(tokens.canonical(text)) == tokens.canonical(text)


def test_two_answers_are_one_whichever_would_be_the_reference() -> None:
    alike = [("3+4", "7"), ("1/2", "0.5"), ("x+1", "1+x"), (r"50\%", "0.5"), (r"\text{A}", "(A)")]
    other = [("50", "0.5"), ("5", "6"), ("x+1", "x-1"), ("A", "B"), ("", "5")]
    for pairs, expected in ((alike, True), (other, False)):
        for left, right in pairs:
            assert math.same(left, right) is math.same(right, left) is expected, (left, right)


def test_a_comparison_that_takes_too_long_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(math, "ask_twice", lambda *_: "timeout")
    with pytest.raises(TimeoutError, match="5 s"):
        math.same("x+1", "1+x")


def test_every_thread_may_grade() -> None:
    reasons: list[str] = []

    def check() -> None:
        reasons.append(math.grade(r"\boxed{(x+1)^2}", "x^2+2x+1").reason)

    threads = [threading.Thread(target=check) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert reasons == ["correct"] * 8


def test_a_pool_grades_in_the_background_and_refuses_nonsense() -> None:
    with pool.start(workers=1) as graders:
        futures = [graders.submit_math(r"\boxed{(x+1)^2}", "x^2+2x+1"), graders.submit_math(r"\boxed{3}", "4")]
        assert [future.result().reward for future in futures] == [1.0, 0.0]
        with pytest.raises(TypeError, match="VisibleTests"):
            graders.submit_code("```python\nprint(1)\n```", [])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="workers"):
        pool.start(workers=0)

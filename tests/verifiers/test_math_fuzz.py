"""What is added to a reference answer, or changed in it, is never paid; what is only written otherwise always is."""

# ruff: noqa: E501 - tables of texts read best unwrapped

import json
import re
from collections.abc import Callable

import numpy as np
import pytest

from hsd_jax.verifiers import math
from tests.support.paths import CORPORA

# behind a number: none of it is harmless
SUFFIXES = r"""x|xy|y|ab|i|e|\pi| \pi|n|k|K|m|M|^2|^{2}|^x|!|!!|'|''|0|1|.5|{,}000|,000|,5|/2|/7|:1|_2|_{8}|e5|E2|\cdot 2|\times 3| 3|+1|-1|+x|\pm 1|
 hundred| thousand| dozen| million| squared| cubed| halves| pairs| plus one| minus one| times two| factorial| negative| or more| or less| or so| at least|
 at most| fails| is wrong| is not it| is false| maybe| or 0| or x| and 0|, 0|; 0|\sqrt{2}|\frac12|^\circ 30'|\overline{7}|(x)|(2)|=0|<x|>0| \approx 99|
\text{ hundred}|\text{ dozen}|\text{ squared}|\text{ or not}|\text{ is incorrect}|\text{ xyz}|\%\%|\boxed{1}|\in\mathbb{R}|?| if x>0| mod 7|\bmod 7|\ldots|T|^T""".replace(
    "\n", ""
).split("|")
PREFIXES = r"""- 2 \sqrt \not \neq > < \pm not minus negative half~of twice at~least more~than almost 1/ \log \sin f(x)+ x+ \overline \hat
x^2= |x|= 2x= x> x\neq -x= x^{-1}= \frac1x= 0= 3= """.split()
HARMLESS: list[Callable[[str], str]] = [
    lambda a: f"{a}.",
    lambda a: f" {a} ",
    lambda a: f"${a}$",
    lambda a: rf"\({a}\)",
    lambda a: rf"{{{a}}}",
    lambda a: rf"\,{a}\!",
    lambda a: rf"\displaystyle {a}",
    lambda a: rf"\text{{The answer is }} {a}",
    lambda a: rf"\text{{Answer: }} {a}",
    lambda a: rf"\text{{the final answer is: }}{a}",
    lambda a: rf"\therefore {a}",
    lambda a: f"The answer is {a}",
    lambda a: f"Answer: {a}",
    lambda a: f"= {a}",
    lambda a: f"{a} is the answer",
    lambda a: f"so the answer is {a}.",
    lambda a: rf"\boxed{{{a}}}",
    lambda a: rf"{a}\quad",
    lambda a: f"\u200b{a}\ufeff",
    lambda a: f"{a},",
]
NUMBER_HARMLESS: list[Callable[[str], str]] = [
    lambda a: f"x = {a}",
    lambda a: rf"\mathbf{{{a}}}",
    lambda a: rf"\text{{{a}}}",
    lambda a: f"({a})",
    lambda a: f"{int(a):,}",
    lambda a: rf"\${a}",
    lambda a: f"{a}.00",
    lambda a: rf"{a}\text{{ apples}}",
    lambda a: f"{a} dollars",
    lambda a: a.translate(str.maketrans("0123456789-", "０１２３４５６７８９－")),
]
SYNTHETIC = {
    "fraction": [r"\frac{3}{8}", r"-\frac{7}{12}", r"\frac{22}{7}", r"\frac{1}{1001}"],
    "root": [r"2\sqrt{3}", r"\sqrt{14}", r"\frac{\sqrt{5}}{2}", r"1+\sqrt{2}"],
    "constant": [r"3\pi", r"\frac{\pi}{6}", r"e^2", r"\ln 5"],
    "set": [r"\{1,2,3\}", r"\{-4,9\}", r"\{\frac12,7\}"],
    "interval": [r"(2,5)", r"[0,\infty)", r"(-\infty,3]", r"(-3,1)\cup(2,9]"],
    "tuple": [r"(1,2,3)", r"(-4,\frac12)", r"(0,7)"],
    "matrix": [r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}5\\-6\end{pmatrix}"],
    "polynomial": [r"x^2+3x-5", r"(x-2)(x+7)", r"2x^3-x", r"a^2b+3"],
    "word": [r"\text{Tuesday}", r"\text{ellipse}", r"\text{Evelyn}", r"\text{odd}"],
    "relation": [r"y=2x+3", r"x^2+y^2=9", r"x=4", r"x\ge 3"],
}


# near a suffix, a prefix or a power of ten: what a corpus holds only by chance
ROUND = ["100", "98", "10", "1000", "2", "20"]


def gsm8k_golds(count: int) -> list[str]:
    path = CORPORA / "gsm8k" / "test.jsonl"
    if not path.exists():
        rng = np.random.default_rng(7)
        return [str(value) for value in rng.integers(2, 20_000, count)]
    lines = path.read_text().splitlines()[:count]
    return [json.loads(line)["answer"].rpartition("####")[2].strip().replace(",", "") for line in lines]


def paid(answer: str, given: str) -> bool:
    verdict = math.grade_easy(rf"\boxed{{{given}}}", answer) or math.grade(rf"\boxed{{{given}}}", answer)
    return verdict.reward == 1.0


def edits(answer: str) -> list[str]:
    """Each digit changed by one, each sign turned, each digit doubled."""
    found = []
    for match in re.finditer(r"\d", answer):
        at, digit = match.start(), match.group()
        found += [answer[:at] + str((int(digit) + 1) % 10) + answer[at + 1 :], answer[:at] + digit + answer[at:]]
    for match in re.finditer(r"[-+]", answer):
        at = match.start()
        found.append(answer[:at] + ("+" if match.group() == "-" else "-") + answer[at + 1 :])
    return found


@pytest.fixture(scope="module")
def golds() -> list[str]:
    return gsm8k_golds(500)


def test_nothing_added_to_a_number_is_paid(golds: list[str]) -> None:
    assert [(gold, f"{gold}{s}") for gold in [*ROUND, *golds[::4]] for s in SUFFIXES if paid(gold, f"{gold}{s}")] == []
    led = [(gold, f"{p} {gold}") for gold in [*ROUND, *golds[::10]] for p in PREFIXES if p != f"{gold}="]
    assert [pair for pair in led if paid(*pair)] == []


def test_no_changed_number_is_paid(golds: list[str]) -> None:
    changed = [(gold, given) for gold in golds for given in edits(gold) if float(given) != float(gold)]
    assert [pair for pair in changed if paid(*pair)] == []


def test_harmless_rewritings_of_numbers_are_paid(golds: list[str]) -> None:
    rewritings = [*HARMLESS, *NUMBER_HARMLESS]
    lost = [(gold, way(gold)) for gold in golds[::5] for way in rewritings if not paid(gold, way(gold))]
    assert lost == [] and len(HARMLESS) >= 20


@pytest.mark.parametrize("kind", SYNTHETIC)
def test_other_kinds_of_references(kind: str) -> None:
    for gold in SYNTHETIC[kind]:
        lost = [way(gold) for way in HARMLESS if not paid(gold, way(gold))]
        assert lost == [], gold
        assert [given for given in edits(gold) if not same_by_chance(gold, given) and paid(gold, given)] == [], gold
        added = [s for s in SUFFIXES if s not in ("'", "''") or kind != "word"]
        assert [f"{gold}{s}" for s in added if paid(gold, f"{gold}{s}")] == [], gold


def same_by_chance(gold: str, given: str) -> bool:
    """Leading signs and zeros that say nothing."""
    return given.replace("{+", "{").replace("00", "0").lstrip("+") == gold.lstrip("+")

"""Nothing that the math verifier does in the calling process is worse than linear; work is counted, not timed."""

import importlib
import pkgutil
import re
import sys
from collections.abc import Iterator
from re import _constants, _parser  # type: ignore[attr-defined]

import pytest

from hsd_jax.verifiers import equivalence, math
from hsd_jax.verifiers.equivalence import extraction

MODULES = [
    importlib.import_module(f"{equivalence.__name__}.{module.name}")
    for module in pkgutil.iter_modules(equivalence.__path__)
    if module.name not in ("worker_main", "worker_pool", "worker_process", "algebra")
]
CAP = extraction.WINDOW
# how a hostile text of n parts is built
FAMILIES = {
    "words between boxes": lambda n: r"\boxed{1} " + "and " * n + r"zz \boxed{2}",
    "letters between boxes": lambda n: r"\boxed{1}" + "a" * n + r"\boxed{2}",
    "commands without a box": lambda n: r"\a" * n + " zz",
    "prose before a digit": lambda n: r"\boxed{" + "ab" * n + " 5}",
    "spaces": lambda n: "the answer is" + " " * n,
    "ties": lambda n: "~" * n,
    "ties in a box": lambda n: r"\boxed{" + "~" * n + "5}",
    "unboxed digits": lambda n: "7" * n,
    "unboxed groups": lambda n: "1" + ",000" * n,
    "unboxed fractions": lambda n: "1/" * n + "2",
    "dollars": lambda n: "$" * n + "5",
    "formulas": lambda n: "$x$ " * n,
    "open displays": lambda n: r"\(" * n,
    "boxes": lambda n: r"\boxed{5} " * n,
    "open boxes": lambda n: r"\boxed{" * n,
    "words that look like boxes": lambda n: r"\boxedx" * n,
    "open braces": lambda n: r"\boxed{" + "{" * n,
    "closed braces": lambda n: r"\boxed{" + "{" * n + "}" * n + "}",
    "markers": lambda n: "the answer is " * n + "5",
    "hopes": lambda n: "The final answer is 5. I hope it is correct. " * n,
    "thoughts": lambda n: "<think>" * n + r"\boxed{5}",
    "ended thoughts": lambda n: "</think>" * n + r"\boxed{5}",
    "parentheses": lambda n: r"\boxed{" + "(" * n + "5" + ")" * n + "}",
    "brackets": lambda n: r"\boxed{" + "[" * n + "}",
    "lists": lambda n: r"\boxed{" + "1," * n + "1}",
    "lists of lists": lambda n: r"\boxed{" + "(1,2)," * n + "3}",
    "roots": lambda n: r"\boxed{" + r"\sqrt" * n + "5}",
    "fractions": lambda n: r"\boxed{" + r"\frac1" * n + "5}",
    "powers": lambda n: r"\boxed{2" + "^{2" * n + "}" * n + "}",
    "signs": lambda n: r"\boxed{" + "-" * n + "5}",
    "number words": lambda n: r"\boxed{\text{" + "twenty one " * n + "}}",
    "units": lambda n: r"\boxed{5 \text{ " + "m/s " * n + "}}",
    "factorials": lambda n: r"\boxed{5" + "!" * n + "}",
    "intervals": lambda n: r"\boxed{" + r"(1,2)\cup" * n + "(1,2)}",
    "superscripts": lambda n: r"\boxed{x" + "²" * n + "}",
    "words": lambda n: "abc " * n,
    "Chinese": lambda n: r"\boxed{5" + "个" * n + "}",
}


def patterns() -> Iterator[tuple[str, re.Pattern[str]]]:
    for module in [*MODULES, math]:
        for name, value in vars(module).items():
            for item in value if isinstance(value, list) else [value]:
                found = [part for part in (item if isinstance(item, tuple) else [item]) if isinstance(part, re.Pattern)]
                yield from ((f"{module.__name__}.{name}", pattern) for pattern in found)


def nested(parsed: list, inside: bool) -> bool:
    """Whether an unbounded repeat holds another repeat of variable length that can match in more than one way."""
    for op, argument in parsed:
        if op in (_constants.MAX_REPEAT, _constants.MIN_REPEAT):
            low, high, inner = argument
            long = high is _constants.MAXREPEAT or high > 200
            if inside and low != high or nested(list(inner), inside or long):
                return True
        elif op is _constants.SUBPATTERN and nested(list(argument[-1]), inside):
            return True
        elif op is _constants.BRANCH and any(nested(list(branch), inside) for branch in argument[1]):
            return True
        elif op in (_constants.ASSERT, _constants.ASSERT_NOT) and nested(list(argument[1]), inside):
            return True
    return False


def test_the_check_for_nested_repeats_can_fail() -> None:
    assert nested(list(_parser.parse(r"(?:a+|b)*c")), False) and not nested(list(_parser.parse(r"(?:a|b)*c+")), False)


def test_no_expression_repeats_a_repeat() -> None:
    found = dict(patterns())
    assert len(found) >= 10
    assert [name for name, pattern in found.items() if nested(list(_parser.parse(pattern.pattern)), False)] == []


class Recorder:
    """In place of an expression: notes the longest text that it sees."""

    longest = 0

    def __init__(self, target: object) -> None:
        self.target = target

    def __getattr__(self, name: str) -> object:
        method = getattr(self.target, name)
        if not callable(method):
            return method

        def called(*arguments: object, **named: object) -> object:
            texts = [argument for argument in arguments if isinstance(argument, str)]
            Recorder.longest = max([Recorder.longest, *map(len, texts)])
            return method(*arguments, **named)

        return called


def recorded(value: object) -> object:
    if isinstance(value, re.Pattern):
        return Recorder(value)
    if isinstance(value, list) and value and isinstance(value[0], tuple) and isinstance(value[0][0], re.Pattern):
        return [(Recorder(pattern), *rest) for pattern, *rest in value]
    return value


@pytest.mark.parametrize("size", [50_000])
def test_no_expression_sees_a_long_text(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in MODULES:
        for name, value in list(vars(module).items()):
            monkeypatch.setattr(module, name, Recorder(re) if value is re else recorded(value))
    Recorder.longest = 0
    for family in FAMILIES.values():
        text = family(size)
        math.grade_easy(text, "5")
        math.grade_easy(r"\boxed{5}", text)
        math.reference.cache_clear()
    # Unicode may spell a character out in LaTeX
    assert 0 < Recorder.longest <= 16 * CAP


def calls(text: str, answer: str) -> int:
    """How many Python functions one check calls."""
    count = 0

    def counted(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    math.reference.cache_clear()
    sys.setprofile(counted)
    try:
        math.grade_easy(text, answer)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("family", FAMILIES)
def test_work_grows_at_most_linearly(family: str) -> None:
    build = FAMILIES[family]
    for small in (8, 40, 2_000):
        for text in (lambda n: (build(n), "5"), lambda n: (r"\boxed{5}", build(n))):
            first, second = calls(*text(small)), calls(*text(2 * small))
            assert second <= 2.5 * first + 400, (small, first, second)
    assert calls(build(100_000), "5") <= 60_000

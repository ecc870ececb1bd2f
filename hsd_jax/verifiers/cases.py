"""Test cases of programming questions, and the two kinds of tests that must never be mixed."""

import functools
import keyword
import marshal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hsd_jax.errors import InputError
from hsd_jax.verifiers.sandbox.values import encode

RULES = ("equal", "unordered", "root")


@dataclass(frozen=True)
class ScriptCase:
    """A program reads `input` and must print `output`."""

    input: str
    output: str


@dataclass(frozen=True)
class CallCase:
    """`call(*args)` must return `output`; `rule` is equal, unordered (a multiset) or root (of a polynomial)."""

    call: str
    args: tuple[Any, ...]
    output: Any
    rule: str = "equal"

    @functools.cached_property
    def size(self) -> int:
        """Bytes of the expected value as an answer."""
        return len(encode(self.output, 0))


Case = ScriptCase | CallCase


@dataclass(frozen=True)
class VisibleTests:
    """Tests that training may run, show to the teacher and quote. Made by `visible`."""

    cases: tuple[Case, ...]


@dataclass(frozen=True)
class HiddenTests:
    """Tests for evaluation only. Training refuses them by type, and printing them shows no case. Made by `hidden`."""

    cases: tuple[Case, ...] = field(repr=False)


Tests = VisibleTests | HiddenTests | Sequence[Mapping[str, Any]]


def visible(tests: Sequence[Mapping[str, Any]]) -> VisibleTests:
    """Visible tests from `{"input", "output"}` or `{"call", "args", "output"}` mappings. Raises: InputError."""
    return VisibleTests(_cases(tests))


def hidden(tests: Sequence[Mapping[str, Any]]) -> HiddenTests:
    """Hidden tests from the same mappings. Raises: InputError."""
    return HiddenTests(_cases(tests))


def cases_of(tests: Tests) -> tuple[Case, ...]:
    """The cases of any tests, refusing malformed ones. Raises: InputError."""
    return tests.cases if isinstance(tests, (VisibleTests, HiddenTests)) else _cases(tests)


def require_visible(tests: object) -> VisibleTests:
    """The tests if they are visible ones.

    Raises:
        TypeError: hidden or unmarked tests; training must not see them.
    """
    if isinstance(tests, VisibleTests):
        return tests
    raise TypeError(f"training grades with VisibleTests only, got {type(tests).__name__}; make them with cases.visible")


def require_hidden(tests: object) -> HiddenTests:
    """The tests if they are hidden ones. Raises: TypeError for visible or unmarked tests."""
    if isinstance(tests, HiddenTests):
        return tests
    raise TypeError(f"evaluation grades with HiddenTests only, got {type(tests).__name__}; make them with cases.hidden")


def _cases(tests: Sequence[Mapping[str, Any]]) -> tuple[Case, ...]:
    if isinstance(tests, (str, bytes)) or not isinstance(tests, Sequence) or not tests:
        raise InputError(f"tests must be a list with at least one test, got {_short(tests)}")
    cases = tuple(_case(index, test) for index, test in enumerate(tests))
    if len({type(case) for case in cases}) > 1:
        raise InputError("tests mix stdin programs and function calls; a question has one kind")
    return cases


def _case(index: int, test: Mapping[str, Any]) -> Case:
    if not isinstance(test, Mapping):
        raise InputError(f"tests[{index}] must be a mapping, got {_short(test)}")
    if {"input", "output"} <= set(test) and isinstance(test["input"], str) and isinstance(test["output"], str):
        return ScriptCase(test["input"], test["output"])
    if {"call", "args", "output"} <= set(test) and isinstance(test["call"], str):
        return _call_case(index, test)
    raise InputError(
        f'tests[{index}] must hold "input" and "output" (strings), or "call" (string), "args" (list) and "output"; '
        f"got {_short(dict(test))}"
    )


def _call_case(index: int, test: Mapping[str, Any]) -> CallCase:
    args, rule = test["args"], test.get("rule", "equal")
    if not all(map(_is_name, test["call"].split("."))):
        raise InputError(
            f'tests[{index}]["call"] must name a function ("f", "Class.method"), got {_short(test["call"])}'
        )
    if not isinstance(args, (list, tuple)):
        raise InputError(f'tests[{index}]["args"] must be a list, got {_short(args)}')
    if rule not in RULES:
        raise InputError(f'tests[{index}]["rule"] must be one of {", ".join(RULES)}, got {_short(rule)}')
    if rule == "root" and not (args and isinstance(args[0], (list, tuple)) and all(map(_is_real, args[0]))):
        raise InputError(f'tests[{index}]["args"] must begin with coefficients for the rule "root", got {_short(args)}')
    for name, check in (("args", lambda: marshal.dumps(list(args), 2)), ("output", lambda: encode(test["output"], 0))):
        try:
            check()
        except (TypeError, ValueError, RecursionError) as error:
            raise InputError(
                f'tests[{index}]["{name}"] must hold plain values (numbers, strings, containers), '
                f"got {_short(test[name])}"
            ) from error
    return CallCase(test["call"], tuple(args), test["output"], rule)


def shown(value: object) -> str:
    """A value as Python writes it; integers too long for decimal digits are named, not written."""
    try:
        return repr(value)
    except ValueError:
        return hex(value) if isinstance(value, int) else "(a value with integers of thousands of digits)"


def _is_name(word: str) -> bool:
    name = word.removesuffix("()")
    return name.isidentifier() and not keyword.iskeyword(name)


def _is_real(value: object) -> bool:
    return isinstance(value, (int, float))


def _short(value: object) -> str:
    text = shown(value)
    return text if len(text) <= 80 else text[:77] + "..."

"""Grades programs by running them against tests in a sandbox.

The parent keeps the expected values and compares; the sandbox is given inputs and returns answers. Whatever a
program prints, patches, forges or exits with, the only way to pass a test is to answer with the right value.
"""

import collections
import re
import time
from collections.abc import Iterator
from dataclasses import replace

from hsd_jax.types import Verdict
from hsd_jax.verifiers import comparison, failure_text
from hsd_jax.verifiers.cases import CallCase, Case, HiddenTests, ScriptCase, Tests, VisibleTests, cases_of
from hsd_jax.verifiers.preamble import modules_of, needed_names
from hsd_jax.verifiers.sandbox import child, tiers

LONGEST_PROGRAM = 400_000
ATTEMPTS = 2
_FENCE = re.compile(
    r"^[ \t]*(```+|~~~+)[ \t]*([A-Za-z0-9_+-]*)[^\n`]*\n(.*?)(?:^[ \t]*\1[ \t]*$|\Z)", re.DOTALL | re.MULTILINE
)
_LANGUAGES = {"", "python", "python3", "py", "py3", "pypy", "pypy3"}


class _Failed(Exception):
    """The first test that fails ends a check; carries the reason, how it failed in words, and the test."""

    def __init__(self, reason: str, what: str = failure_text.RAISED):
        super().__init__(reason)
        self.what = what
        self.case: Case | None = None


def extract_program(response: str) -> str | None:
    """The program of a response: its last fenced Python block after any thinking, or None where there is none."""
    text = response.rpartition("</think>")[2]
    blocks = [match.group(3) for match in _FENCE.finditer(text) if match.group(2).lower() in _LANGUAGES]
    blocks = [block for block in blocks if block.strip()]
    return blocks[-1] if blocks else None


def grade_response(
    response: str, tests: Tests, *, limits: tiers.Limits = tiers.DEFAULT_LIMITS, allow_unsandboxed: bool = False
) -> Verdict:
    """`grade` of the program that `extract_program` finds; no_answer where it finds none."""
    cases_of(tests)
    program = extract_program(response)
    if program is None:
        return Verdict(0.0, "no_answer", None)
    return grade(program, tests, limits=limits, allow_unsandboxed=allow_unsandboxed)


def grade(
    program: str,
    tests: Tests,
    *,
    limits: tiers.Limits = tiers.DEFAULT_LIMITS,
    tolerance: comparison.Tolerance = comparison.JSON_VALUES,
    allow_unsandboxed: bool = False,
    tier: tiers.Tier | None = None,
) -> Verdict:
    """Reward 1 where the program passes every test, 0 else, with the reason.

    Tests are `{"input", "output"}` (a program reads stdin and prints) or `{"call", "args", "output"}`. Reasons:
    correct, wrong (also: it raised, ran out of memory or said nothing), no_answer (empty), unparsed (not Python),
    timeout (10 s per test), crash (its sandbox was lost twice). The verdict on `VisibleTests` quotes the first that
    failed (`detail`). Works from any thread. `tier` None: the best one.

    Raises:
        TypeError: the program is not a string.
        InputError: malformed tests.
        NoSandbox: no isolation on this machine and `allow_unsandboxed` is not set.
    """
    if not isinstance(program, str):
        raise TypeError(f"program must be a string, got {type(program).__name__}")
    cases = cases_of(tests)
    if not program.strip():
        return Verdict(0.0, "no_answer", None)
    if len(program) > LONGEST_PROGRAM or "\0" in program:
        return Verdict(0.0, "unparsed", program[:LONGEST_PROGRAM])
    tier = tier or tiers.tier_for(allow_unsandboxed=allow_unsandboxed)
    for _ in range(ATTEMPTS):
        begun = time.monotonic()
        try:
            _run(tier, limits, program, cases, tolerance)
        except _Failed as failure:
            quoted = failure.case if isinstance(tests, VisibleTests) else None
            return Verdict(0.0, str(failure), program, failure_text.of_test(quoted, failure.what) if quoted else "")
        except tiers.SandboxTimeout:
            return Verdict(0.0, "timeout", program)
        except tiers.SandboxLost as lost:
            # the repetition has what the lost test left of its time: a forged loss buys none
            used = time.monotonic() - (lost.since or begun)
            limits = replace(limits, seconds=max(0.5, limits.seconds - used))
            continue
        return Verdict(1.0, "correct", program)
    return Verdict(0.0, "crash", program)


def _run(
    tier: tiers.Tier, limits: tiers.Limits, program: str, cases: tuple[Case, ...], tolerance: comparison.Tolerance
) -> None:
    names = needed_names(program)
    text = program.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    waiting = collections.deque(cases)
    while waiting:
        with tiers.session(tier, limits, program=text, preload=modules_of(program, names), names=names) as running:
            while waiting and running.clean:
                begun, case = time.monotonic(), waiting.popleft()
                try:
                    _check(running, case, tolerance)
                except _Failed as failure:
                    failure.case = case
                    raise
                except tiers.SandboxLost as lost:
                    lost.since = begun
                    raise


def _check(running: tiers.Session, case: Case, tolerance: comparison.Tolerance) -> None:
    if isinstance(case, ScriptCase):
        _check_script(running, case)
    else:
        _check_call(running, case, tolerance)


def _check_script(running: tiers.Session, case: ScriptCase) -> None:
    reply, output = tiers.script(running, case.input)
    _check_ending(reply)
    printed = output.decode("utf-8", "replace")
    if not comparison.same_output(case.output, printed):
        raise _Failed("wrong", failure_text.of_output(printed))


def _check_call(running: tiers.Session, case: CallCase, tolerance: comparison.Tolerance) -> None:
    reply = tiers.call(running, case.call, list(case.args))
    if reply.get("ended") is True:
        _check_ending(reply)
        raise _Failed("wrong")
    if reply.get("raised"):
        raise _Failed("wrong")
    if not _RULES[case.rule](case, reply.get("value"), tolerance):
        raise _Failed("wrong", failure_text.ANOTHER)


def _check_ending(reply: dict[str, object]) -> None:
    """Passes where the program ended by itself; a kill from outside loses the sandbox."""
    status = reply.get("exit")
    if status == 0:
        return
    if status == -9:
        raise tiers.SandboxLost("its program was killed")
    raise _Failed({child.NOT_PYTHON: "unparsed", -24: "timeout"}.get(status, "wrong"))  # type: ignore[arg-type]


_RULES = {
    "equal": lambda case, value, tolerance: comparison.same_value(case.output, value, tolerance),
    "unordered": lambda case, value, tolerance: comparison.same_multiset(case.output, value, tolerance),
    "root": lambda case, value, tolerance: comparison.is_zero_of_polynomial(case.args[0], value),
}
_RECORDER = """

def __recorded_calls():
    import copy
    calls = []
    def candidate(*arguments):
        before = copy.deepcopy(arguments)
        value = {entry}(*arguments)
        calls.append((before, copy.deepcopy(value)))
        return value
    check(candidate)
    return calls
"""


def recorded_tests(reference: str, check: str, entry: str, *, allow_unsandboxed: bool = False) -> HiddenTests:
    """Hidden tests from a reference solution and a `check(candidate)` function (HumanEval's form).

    The reference runs once, in a sandbox; each call `check` makes becomes a test with the reference's result. So
    the asserts themselves, and with them the expected values, never share a process with a graded program.

    Raises:
        ValueError: the reference does not pass its own check.
    """
    tier = tiers.tier_for(allow_unsandboxed=allow_unsandboxed)
    program = f"{reference}\n{check}\n" + _RECORDER.format(entry=entry)
    with tiers.session(tier, tiers.Limits(seconds=60.0, memory_bytes=4 << 30), program=program) as running:
        reply = tiers.call(running, "__recorded_calls", [])
    calls = reply.get("value")
    if reply.get("ended") or reply.get("raised") or not calls:
        raise ValueError(f"the reference solution of {entry} does not pass its own check")
    rule = "root" if entry == "find_zero" else "equal"
    return HiddenTests(tuple(_recorded(entry, pair, rule) for pair in _pairs(calls)))


def _pairs(calls: object) -> Iterator[tuple[tuple[object, ...], object]]:
    yield from comparison.decode(calls)  # type: ignore[misc]


def _recorded(entry: str, pair: tuple[tuple[object, ...], object], rule: str) -> CallCase:
    return CallCase(entry, tuple(pair[0]), pair[1], rule)

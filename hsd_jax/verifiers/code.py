"""Grades programs by running them against tests in a sandbox.

The parent keeps the expected values and compares; the sandbox is given inputs and returns answers. Whatever a
program prints, patches, forges or exits with, the only way to pass a test is to answer with the right value.
"""

import collections
import functools
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hsd_jax.types import Reason, Verdict
from hsd_jax.verifiers import comparison, failure_text, fences
from hsd_jax.verifiers.cases import CallCase, Case, HiddenTests, ScriptCase, Tests, VisibleTests, cases_of
from hsd_jax.verifiers.preamble import modules_of, needed_names
from hsd_jax.verifiers.sandbox import child, tiers

LONGEST_PROGRAM = 400_000
ATTEMPTS = 2
_SLACK = 1 << 20  # bytes that an answer may be longer than eight times the expected one


class _Failed(Exception):
    """The first test that fails ends a check; carries the reason, how it failed in words, and the test."""

    def __init__(self, reason: Reason, what: str = failure_text.RAISED):
        super().__init__(reason)
        self.reason: Reason = reason
        self.what = what
        self.case: Case | None = None


def extract_program(response: str, tests: Tests | None = None) -> str | None:
    """The program of a response, None where there is none: the block that the tests need, else the last of Python."""
    return fences.program_of(response, None if tests is None else _wanted(cases_of(tests)))


def grade_response(
    response: str,
    tests: Tests,
    *,
    limits: tiers.Limits = tiers.DEFAULT_LIMITS,
    tolerance: comparison.Tolerance = comparison.JSON_VALUES,
    allow_unsandboxed: bool = False,
) -> Verdict:
    """`grade` of the program that `extract_program` finds: no_answer where there is none, unparsed if too long."""
    cases = cases_of(tests)
    if len(response) > fences.LONGEST_RESPONSE:
        return Verdict(0.0, "unparsed", None)
    program = fences.program_of(response, _wanted(cases))
    if program is None:
        return Verdict(0.0, "no_answer", None)
    return grade(program, tests, limits=limits, tolerance=tolerance, allow_unsandboxed=allow_unsandboxed)


def _wanted(cases: tuple[Case, ...]) -> frozenset[str]:
    """The names that a program must define; none for programs that read and print."""
    return frozenset(case.call.partition(".")[0].removesuffix("()") for case in cases if isinstance(case, CallCase))


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
    timeout (of one test or of all, `Limits`), crash (its sandbox was lost twice). The verdict on `VisibleTests` quotes
    the first that failed (`detail`). Works from any thread. `tier` None: the best one.

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
    try:
        _attempt(tier, limits, lambda start: _run(start, program, cases, tolerance))
    except _Failed as failure:
        quoted = failure.case if isinstance(tests, VisibleTests) else None
        return Verdict(0.0, failure.reason, program, failure_text.of_test(quoted, failure.what) if quoted else "")
    except tiers.SandboxTimeout:
        return Verdict(0.0, "timeout", program)
    except tiers.SandboxLost:
        return Verdict(0.0, "crash", program)
    return Verdict(1.0, "correct", program)


def _attempt(tier: tiers.Tier, limits: tiers.Limits, run: Callable[[Callable[..., Any]], None]) -> None:
    """Runs a check, once more where its sandbox is lost. Raises: SandboxLost where that is lost as well."""
    until = time.monotonic() + limits.whole_check
    for attempt in range(1, ATTEMPTS + 1):
        begun = time.monotonic()
        try:
            return run(functools.partial(tiers.session, tier, limits, until=until))
        except tiers.SandboxLost as lost:
            if attempt == ATTEMPTS:
                raise
            # the repetition has what the lost test left of its time: a forged loss buys none
            used = time.monotonic() - (lost.since or begun)
            limits = replace(limits, seconds=max(0.5, limits.seconds - used))


def _run(start: Callable[..., Any], program: str, cases: tuple[Case, ...], tolerance: comparison.Tolerance) -> None:
    """Checks case after case, in as few sandboxes as will do; `start` opens one."""
    # what the tests call must be the program's own, not a name that contests import for it
    wanted = _wanted(cases)
    names = tuple(name for name in needed_names(program) if name[0] not in wanted)
    text = program.removeprefix("\ufeff").encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    waiting = collections.deque(cases)
    while waiting:
        with start(program=text, preload=modules_of(program, names), names=names) as running:
            while waiting and running.clean:
                begun, case = time.monotonic(), waiting[0]
                try:
                    run = _run_script if isinstance(case, ScriptCase) else _run_call
                    if run(running, case, tolerance):  # type: ignore[operator]
                        waiting.popleft()
                except _Failed as failure:
                    failure.case = case
                    raise
                except tiers.SandboxLost as lost:
                    lost.since = begun
                    raise


def _run_script(running: tiers.Session, case: ScriptCase, tolerance: comparison.Tolerance) -> bool:
    """Whether the test could run at all in this sandbox. Raises: _Failed if the program fails it."""
    most = _SLACK + 8 * len(case.output)
    reply, output = tiers.script(running, case.input, most)
    if reply["exit"] == child.STALE and running.used > 1:
        return False
    _check_ending(reply["exit"])
    printed = output.decode("utf-8", "replace")
    if len(output) > most or not comparison.same_output(case.output, printed, tolerance):
        raise _Failed("wrong", failure_text.of_output(printed))
    return True


def _run_call(running: tiers.Session, case: CallCase, tolerance: comparison.Tolerance) -> bool:
    reply = tiers.call(running, case.call, list(case.args), _SLACK + 8 * case.size)
    if reply.get("ended"):
        _check_ending(reply["exit"])
    if reply.get("ended") or reply.get("raised") or "value" not in reply:
        raise _Failed("wrong")
    if not _RULES[case.rule](case, reply["value"], tolerance):
        raise _Failed("wrong", failure_text.ANOTHER)
    return True


def _check_ending(status: int) -> None:
    """Passes where the program ended by itself; a kill from outside loses the sandbox."""
    if status == -9:
        raise tiers.SandboxLost("its program was killed")
    if status != 0:
        raise _Failed(_ENDINGS.get(status, "wrong"))


_ENDINGS: dict[int, Reason] = {child.NOT_PYTHON: "unparsed", -24: "timeout"}
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
    calls: Any = comparison.decode(reply.get("value"))
    if reply.get("ended") or reply.get("raised") or not calls:
        raise ValueError(f"the reference solution of {entry} does not pass its own check")
    rule = "root" if entry == "find_zero" else "equal"
    return HiddenTests(tuple(CallCase(entry, tuple(arguments), value, rule) for arguments, value in calls))

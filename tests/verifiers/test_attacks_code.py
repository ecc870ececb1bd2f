"""Hostile programs: none earns a reward, outlives its limit by a second, or leaves a process or a file."""

# ruff: noqa: E501 - programs read best unwrapped

import os
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hsd_jax.errors import InputError
from hsd_jax.types import Verdict
from hsd_jax.verifiers import cases, code
from hsd_jax.verifiers.sandbox import tiers
from tests.support.attacks_code import CALLS, FORGED_REPLIES, SCRIPTS
from tests.support.tiers import needs_sandbox, sandboxes_left, usable_tiers

LIMITS = tiers.Limits(seconds=2.0, memory_bytes=512 << 20)
REASONS = {"wrong", "no_answer", "unparsed", "timeout", "crash"}
ANSWER = 831_702_446_117  # no attack can guess it
TESTS = {
    "call": [{"call": "f", "args": [7, 8], "output": ANSWER}, {"call": "f", "args": [9], "output": [ANSWER]}],
    "script": [{"input": "17\n", "output": f"{ANSWER}\n"}],
}

pytestmark = [pytest.mark.sandbox, needs_sandbox]


def timed(tier: tiers.Tier, program: str, kind: str) -> tuple[Verdict, float]:
    begun = time.monotonic()
    verdict = code.grade(program, TESTS[kind], limits=LIMITS, tier=tier)
    return verdict, time.monotonic() - begun


@pytest.fixture(scope="module", params=usable_tiers(), ids=lambda tier: tier.name)
def outcomes(request: pytest.FixtureRequest) -> dict[str, tuple[Verdict, float]]:
    attacks = [(f"call: {name}", program, "call") for name, program in CALLS.items()]
    attacks += [(f"script: {name}", program, "script") for name, program in SCRIPTS.items()]
    with ThreadPoolExecutor(6) as threads:
        futures = {name: threads.submit(timed, request.param, program, kind) for name, program, kind in attacks}
        return {name: future.result() for name, future in futures.items()}


@pytest.mark.parametrize(
    "expected", [ANSWER, {"a": {1}, "b": [2.5]}, {(1, 2), (3, 4)}, b"answer", [[], [b""]]], ids=str
)
def test_no_forged_reply_is_paid_or_raises(expected: object) -> None:
    lines = [reply.replace("%s", "{id}") for reply in FORGED_REPLIES]
    program = (
        "import os, sys\nn = 0\ndef f(reply):\n    order = sys._getframe(1).f_locals['order']\n"
        "    os.write(61, reply.replace('{id}', order['id']).encode() + b'\\n')\n    os._exit(0)\n"
    )

    def check(reply: str) -> Verdict:
        return code.grade(program, [{"call": "f", "args": [reply], "output": expected}], limits=LIMITS)

    with ThreadPoolExecutor(6) as threads:
        verdicts = dict(zip(lines, threads.map(check, lines[:: 1 if expected == ANSWER else 5]), strict=False))
    assert {verdict.reward for verdict in verdicts.values()} == {0.0}
    assert {verdict.reason for verdict in verdicts.values()} <= REASONS


def test_integers_of_any_length_get_a_verdict() -> None:
    big = 10**5000 + 7
    for expected in (big, [big], {"a": big}, {big}):
        tests = cases.visible([{"call": "f", "args": [big, [big]], "output": expected}])
        wrong = code.grade("def f(a, b): return 1\n", tests)
        assert wrong.reason == "wrong" and "It gives another value." in wrong.detail
        assert code.grade(f"def f(a, b): return {'[a]' if isinstance(expected, list) else 'a'}\n", tests).reason == (
            "correct" if expected in (big, [big]) else "wrong"
        )
    with pytest.raises(InputError, match="args"):
        code.grade("x", [{"call": "f", "args": big, "output": 1}])


def test_a_check_has_a_limit_of_its_own() -> None:
    slow = "import time\ndef f(x):\n    time.sleep(0.7)\n    return x\n"
    tests = [{"call": "f", "args": [n], "output": n} for n in range(8)]
    begun = time.monotonic()
    assert code.grade(slow, tests, limits=tiers.Limits(seconds=1.0)).reason == "timeout"
    assert time.monotonic() - begun < 3.0
    scripts = [{"input": f"{n}\n", "output": f"{n}\n"} for n in range(8)]
    slow = "import time\ntime.sleep(0.7)\nprint(input())\n"
    assert code.grade(slow, scripts, limits=tiers.Limits(seconds=1.0)).reason == "timeout"
    assert code.grade(slow, scripts[:2], limits=tiers.Limits(seconds=1.0, check_seconds=9.0)).reason == "correct"


def test_16_mb_of_output_do_not_fill_the_caller() -> None:
    floods = {
        "print('1 ' * (8 << 20))": [{"input": "", "output": "7\n"}],
        "print('[]' * (4 << 20), chr(0x1f600))": [{"input": "", "output": "7\n"}],
        "def f(): return [[]] * 2_000_000": [{"call": "f", "args": [], "output": 7}],
        "import os\ndef f():\n    while True: os.write(61, b'[' * 65536)": [{"call": "f", "args": [], "output": 7}],
    }
    for program, tests in floods.items():
        tracemalloc.start()
        assert code.grade(program, cases.visible(tests), limits=tiers.Limits(seconds=60.0)).reason == "wrong"
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 16 << 20, program


def test_what_tests_call_must_be_the_programs_own() -> None:
    for name, arguments, value in (("gcd", [4, 6], 2), ("comb", [4, 2], 6), ("reduce", [[1]], 1), ("sum", [[1]], 1)):
        tests = [{"call": name, "args": arguments, "output": value}]
        for program in (
            f"x = {name}\n",
            "pass\n",
            f"# {name}\n",
            f"y = [{name}(*a) for a in []]\n",
            f"{name} = {name}\n",
        ):
            verdict = code.grade(program, tests)
            assert verdict.reward == (name == "sum" and program == "sum = sum\n"), (name, program)
    assert code.grade("Counter\n", [{"call": "Counter.total", "args": [], "output": 0}]).reward == 0.0
    assert (
        code.grade("def gcd(a, b): return math.gcd(a, b)\n", [{"call": "gcd", "args": [4, 6], "output": 2}]).reward
        == 1.0
    )
    assert code.grade("from math import gcd\n", [{"call": "gcd", "args": [4, 6], "output": 2}]).reward == 1.0


def test_there_are_at_least_sixty_attacks() -> None:
    assert len(CALLS) + len(SCRIPTS) >= 60


def test_no_attack_earns_a_reward(outcomes: dict[str, tuple[Verdict, float]]) -> None:
    rewarded = {name: verdict for name, (verdict, _) in outcomes.items() if verdict.reward != 0}
    assert not rewarded
    assert {verdict.reason for verdict, _ in outcomes.values()} <= REASONS


def test_no_attack_outlives_its_limit_by_a_second(outcomes: dict[str, tuple[Verdict, float]]) -> None:
    late = {name: seconds for name, (_, seconds) in outcomes.items() if seconds > LIMITS.seconds + 1.0}
    assert not late


def test_no_attack_leaves_a_process_or_a_file(outcomes: dict[str, tuple[Verdict, float]]) -> None:
    assert outcomes
    assert sandboxes_left() == []
    places = [Path(place) for place in ("/", "/usr", "/usr/lib", "/etc", "/tmp", "/var/tmp", "/dev/shm", os.getcwd())]
    assert [place for place in places if (place / "left_behind_by_attack").exists()] == []


def test_honest_work_goes_on_after_the_attacks(outcomes: dict[str, tuple[Verdict, float]]) -> None:
    assert outcomes
    tests = [{"call": "f", "args": [2], "output": 4}]
    assert code.grade("def f(x):\n    return x * x\n", tests).reward == 1.0

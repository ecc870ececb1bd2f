"""Hostile programs: none earns a reward, outlives its limit by a second, or leaves a process or a file."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hsd_jax.types import Verdict
from hsd_jax.verifiers import code
from hsd_jax.verifiers.sandbox import tiers
from tests.support.attacks_code import CALLS, SCRIPTS
from tests.support.tiers import needs_sandbox, processes_of_sandboxes, usable_tiers

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
    assert processes_of_sandboxes() == []
    places = [Path(place) for place in ("/", "/usr", "/usr/lib", "/etc", "/tmp", "/var/tmp", "/dev/shm", os.getcwd())]
    assert [place for place in places if (place / "left_behind_by_attack").exists()] == []


def test_honest_work_goes_on_after_the_attacks(outcomes: dict[str, tuple[Verdict, float]]) -> None:
    assert outcomes
    tests = [{"call": "f", "args": [2], "output": 4}]
    assert code.grade("def f(x):\n    return x * x\n", tests).reward == 1.0

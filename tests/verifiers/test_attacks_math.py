"""Hostile answers: none is rewarded, outlives 5 s by a second, runs code or stops the workers."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hsd_jax.types import Verdict
from hsd_jax.verifiers import math
from hsd_jax.verifiers.equivalence import worker_pool
from tests.support.attacks_math import ATTACKS

LIMIT_SECONDS = 3.0


@pytest.fixture(scope="module")
def outcomes() -> dict[str, tuple[Verdict, float]]:
    lender = worker_pool.open_set(limit_seconds=LIMIT_SECONDS, most=6)
    worker_pool.warm_up(lender, 5)

    def timed(attack: tuple[str, str]) -> tuple[Verdict, float]:
        begun = time.monotonic()
        verdict = math.grade_with(lender, *attack)
        return verdict, time.monotonic() - begun

    try:
        with ThreadPoolExecutor(2) as threads:
            return dict(zip(ATTACKS, threads.map(timed, ATTACKS.values()), strict=True))
    finally:
        worker_pool.close_set(lender)


def test_there_are_at_least_sixty_attacks() -> None:
    assert len(ATTACKS) >= 60


def test_no_attack_is_rewarded(outcomes: dict[str, tuple[Verdict, float]]) -> None:
    assert {name: verdict for name, (verdict, _) in outcomes.items() if verdict.reward} == {}
    assert {verdict.reason for verdict, _ in outcomes.values()} <= set(math.REASONS) - {"correct"}


def test_no_attack_outlives_its_limit_by_a_second(outcomes: dict[str, tuple[Verdict, float]]) -> None:
    assert {name: seconds for name, (_, seconds) in outcomes.items() if seconds > LIMIT_SECONDS + 1} == {}


def test_no_attack_runs_code(outcomes: dict[str, tuple[Verdict, float]]) -> None:
    assert outcomes
    assert not Path("/tmp/left_behind_by_attack").exists()


def test_honest_answers_are_graded_after_the_attacks(outcomes: dict[str, tuple[Verdict, float]]) -> None:
    assert outcomes
    assert math.grade(r"\boxed{(x+1)^2}", "x^2+2x+1").reason == "correct"

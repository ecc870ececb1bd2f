"""Guards: numbers that are not finite name their questions and end the run; collapse warns, or stops on request."""

import logging
from typing import Any

import numpy as np
import pytest

from hsd_jax.config import Guards
from hsd_jax.errors import RunStopped
from hsd_jax.monitoring import guards

NORMAL = {"repeated_ngrams": 0.1, "response_length": 100.0, "entropy": 0.8, "kl_reference": 0.01, "skipped": 0.0}


def run_of(normal: int, then: list[dict[str, Any]]) -> list[dict[str, Any]]:
    lines = [NORMAL] * normal + [NORMAL | more for more in then]
    return [line | {"step": step} for step, line in enumerate(lines, 1)]


@pytest.mark.parametrize(("skipped", "stops"), [([1, 1, 1], True), ([1, 0, 1, 1], False), ([1, 1], False)])
def test_a_few_skipped_updates_in_a_row_end_the_run(skipped: list[int], stops: bool) -> None:
    lines = run_of(3, [{"skipped": float(one)} for one in skipped])
    if not stops:
        guards.watch(lines, Guards(nonfinite_updates=3), "runs/x")
        return
    with pytest.raises(RunStopped, match=r"step 6: .*3 updates in a row.*learning-rate.*resume runs/x"):
        guards.watch(lines, Guards(nonfinite_updates=3), "runs/x")


@pytest.mark.parametrize(
    ("metric", "value"),
    [("repeated_ngrams", 0.6), ("response_length", 30.0), ("entropy", 0.1), ("kl_reference", 2.0)],
)
def test_every_sign_of_collapse_warns_once_and_stops_on_request(
    metric: str, value: float, caplog: pytest.LogCaptureFixture
) -> None:
    lines = run_of(15, [{metric: value}] * 12)
    for end in range(1, len(lines) + 1):
        guards.watch(lines[:end], Guards(), "runs/x")
    assert [metric in record.getMessage() for record in caplog.records] == [True]
    with pytest.raises(RunStopped, match=f"{metric}.*guards.stop-on-collapse"):
        for end in range(1, len(lines) + 1):
            guards.watch(lines[:end], Guards(stop_on_collapse=True), "runs/x")


def evaluations(*scores: tuple[float, float], k: int = 16) -> list[dict[str, Any]]:
    """Ten steps from one evaluation to the next; (pass@1, pass@k) of each, the first before step 1."""
    kept = ({"step": 10 * i, "eval/pass@1": one, f"eval/pass@{k}": many} for i, (one, many) in enumerate(scores))
    return [line for scored in kept for line in (scored, *({"step": scored["step"] + j} for j in range(1, 10)))]


@pytest.mark.parametrize("k", [16, 4])
def test_a_policy_that_sharpens_at_the_price_of_variety_is_said_once(k: int, caplog: pytest.LogCaptureFixture) -> None:
    lines = evaluations((0.3, 0.8), (0.5, 0.9), (0.6, 0.85), (0.65, 0.8), k=k)
    for end in range(1, len(lines) + 1):
        guards.watch(lines[:end], Guards(stop_on_collapse=True), "runs/x")
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith(f"step 20: eval/pass@1 0.500 -> 0.600 and eval/pass@{k} 0.900 -> 0.850 since step 10")


@pytest.mark.parametrize(
    "scores",
    [((0.3, 0.8), (0.5, 0.9), (0.7, 0.95)), ((0.5, 0.9), (0.4, 0.8)), ((0.3, 0.8), (0.5, 0.78)), ((0.3, 0.8),), ()],
    ids=["both rise", "both fall", "within noise", "one evaluation", "none"],
)
def test_nothing_is_said_of_variety_where_it_is_not_paid_with(
    scores: tuple[tuple[float, float], ...], caplog: pytest.LogCaptureFixture
) -> None:
    lines = evaluations(*scores) + [{"step": 99, "eval/pass@1": float("nan"), "eval/pass@16": 0.1}]
    for end in range(1, len(lines) + 1):
        guards.watch(lines[:end], Guards(), "runs/x")
    assert not caplog.records


def test_a_phase_that_takes_twice_its_plan_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """One slow step, such as one that compiles, is none; nor is anything where there is no plan."""
    normal, slow = ({"time/sample": seconds, "time/update": 9.0, "plan/sample": 4.0} for seconds in (6.0, 8.5))
    lines = run_of(0, [{"time/sample": 90.0, "plan/sample": 4.0}, *[normal] * 6, *[slow] * 9])
    for end in range(1, len(lines) + 1):
        guards.watch(lines[:end], Guards(stop_on_collapse=True), "runs/x")
    (said,) = (record.getMessage() for record in caplog.records)
    assert said.startswith("step 10: sample: 8 s a step, 2.1 times its plan of 4 s")


def test_a_healthy_run_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    lines = run_of(40, [])
    for end in range(1, len(lines) + 1):
        guards.watch(lines[:end], Guards(stop_on_collapse=True), "runs/x")
    assert not caplog.records


def test_offending_questions_are_named_and_padding_is_ignored(caplog: pytest.LogCaptureFixture) -> None:
    length_PG = np.array([[2, 3], [1, 3], [3, 3]])
    kl_PGT, top_PGT3 = np.zeros((3, 2, 3)), np.zeros((3, 2, 3, 3))
    kl_PGT[0, 0, 2] = np.nan  # behind the end of its response
    kl_PGT[1, 1, 2] = np.inf
    top_PGT3[2, 0, 1, 2] = np.nan
    stats = {"kl": kl_PGT, "top_probs_student": top_PGT3}
    assert guards.offenders(["a", "b", "c"], stats, length_PG) == ["b", "c"]
    with caplog.at_level(logging.WARNING):
        guards.name_offenders(7, ["a", "b", "c"], stats, length_PG)
        guards.name_offenders(8, ["a", "b", "c"], {}, length_PG)
    said = [record.getMessage() for record in caplog.records]
    assert "step 7" in said[0] and "b, c" in said[0] and "a," not in said[0]
    assert "step 8" in said[1] and "a, b, c" in said[1]

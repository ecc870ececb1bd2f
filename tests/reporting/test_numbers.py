"""Every number of the report against the same number computed plainly from the JSON of the rollout log."""

import itertools
import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from hsd_jax import report
from hsd_jax.reporting import coverage, credit_profile, diagnostics, figures, health, trends, write
from hsd_jax.reporting.logs import Group, Run, read_groups, read_run
from hsd_jax.update import metric_table
from tests.support.report_workdir import make_workdir


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workdir(tmp_path_factory.mktemp("runs") / "run", steps=3, problems=5, group=6, length=50)


@pytest.fixture(scope="module")
def groups(workdir: Path) -> list[Group]:
    damage: Counter[str] = Counter()
    found = list(read_groups(workdir, damage))
    assert not +damage
    return found


@pytest.fixture(scope="module")
def raw(workdir: Path) -> list[dict]:
    files = sorted((workdir / "rollouts").glob("*.jsonl"))
    return [json.loads(line) for path in files for line in path.read_text().splitlines()]


def diverging(raw: list[dict]) -> list[dict]:
    return [rollout for group in raw for rollout in group["rollouts"] if rollout["peer"] >= 0 <= rollout["divergence"]]


def test_profile_is_the_plain_mean_at_every_offset(groups: list[Group], raw: list[dict]) -> None:
    found = credit_profile.offset_profile(diagnostics.rollouts_of(groups))
    for place, offset in enumerate(range(-6, 33)):
        values = [
            abs(rollout["credit"][rollout["divergence"] + offset])
            for rollout in diverging(raw)
            if 0 <= rollout["divergence"] + offset < len(rollout["credit"])
        ]
        assert found.count[place] == len(values)
        assert found.mean[place] == pytest.approx(np.mean(values), rel=1e-5)
        assert found.band[place] == pytest.approx(1.96 * np.std(values, ddof=1) / math.sqrt(len(values)), rel=1e-5)


def test_mass_is_the_plain_share(groups: list[Group], raw: list[dict]) -> None:
    found = diagnostics.cumulative_mass(diagnostics.rollouts_of(groups))
    even = diagnostics.uniform_mass(diagnostics.rollouts_of(groups))
    for place, window in enumerate(diagnostics.WINDOWS):
        near = total = near_tokens = tokens = 0.0
        for rollout in diverging(raw):
            for t, credit in enumerate(rollout["credit"]):
                inside = abs(t - rollout["divergence"]) <= window
                near, total = near + abs(credit) * inside, total + abs(credit)
                near_tokens, tokens = near_tokens + inside, tokens + 1
        assert found.mean[place] == pytest.approx(near / total, rel=1e-5)
        assert even[place] == pytest.approx(near_tokens / tokens)


def test_shift_is_the_plain_mean_of_a_bin(groups: list[Group], raw: list[dict]) -> None:
    found = diagnostics.shift_by_position(diagnostics.rollouts_of(groups))
    bins: dict[int, list[float]] = {index: [] for index in range(diagnostics.RELATIVE_BINS)}
    for rollout in (rollout for group in raw for rollout in group["rollouts"]):
        for t, value in enumerate(rollout["kl"]):
            bins[int(t / len(rollout["kl"]) * diagnostics.RELATIVE_BINS + 1e-9)].append(value)
    np.testing.assert_allclose(found.mean, [np.mean(values) for values in bins.values()], rtol=1e-5)


def test_divergence_by_difficulty(groups: list[Group], raw: list[dict]) -> None:
    rows = {row.difficulty: row for row in diagnostics.divergence_by_difficulty(groups)}
    hard = diverging([group for group in raw if group["difficulty"] <= 1 / 3])
    assert rows["hard"].rollouts == len(hard) > 0
    assert rows["hard"].median_position == np.median([rollout["divergence"] for rollout in hard])
    at = [abs(rollout["credit"][rollout["divergence"]]) for rollout in hard]
    assert rows["hard"].credit_at_divergence == pytest.approx(np.mean(at), rel=1e-5)
    assert rows["hard"].peak_credit >= rows["hard"].credit_at_divergence
    assert rows["all"].rollouts == len(diverging(raw))


# shared/method.md, section 5: p* and f* from the formula (the paper's own table is wrong).
@pytest.mark.parametrize(
    ("size", "rate", "share"),
    [(4, 0.3700, 0.4725), (8, 0.2570, 0.6501), (16, 0.1688, 0.7793), (32, 0.1058, 0.8663), (64, 0.0639, 0.9215)],
)
def test_coverage_closed_form(size: int, rate: float, share: float) -> None:
    best, most = coverage.most_recoverable(size)
    assert (round(best, 4), round(most, 4)) == (rate, share)
    assert coverage.recoverable(best, size) == pytest.approx(most)
    rates = np.linspace(0, 1, 2001)
    assert max(coverage.recoverable(p, size) for p in rates) <= most + 1e-12


@pytest.mark.parametrize("size", [2, 3, 4, 6])
def test_observed_coverage_is_the_mean_over_all_sub_groups(groups: list[Group], size: int) -> None:
    found = coverage.observed(groups, size)
    with_peer, failed_with_peer = [], []
    for group in groups:
        solved = [rollout.reward > 0 for rollout in group.rollouts]
        for chosen in itertools.combinations(range(len(solved)), size):
            for i in chosen:
                peer = any(solved[j] for j in chosen if j != i)
                with_peer.append(peer)
                failed_with_peer.append(peer and not solved[i])
    assert found.has_peer == pytest.approx(np.mean(with_peer))
    assert found.recoverable == pytest.approx(np.mean(failed_with_peer))


def test_seconds_per_phase_are_means_over_steps_that_ran() -> None:
    metrics = [
        {"step": 0, "time/evaluate": 50.0, "time/step": 50.0},
        {"step": 1, "time/sample": 90.0, "time/update": 90.0, "time/step": 180.0},
        {"step": 2, "time/sample": 2.0, "time/update": 1.0, "time/step": 3.5},
        {"step": 3, "time/sample": 4.0, "time/update": 1.0, "time/evaluate": 8.0, "time/step": 13.5},
    ]
    found = diagnostics.phase_seconds(metrics)
    assert found == {"sample": 3.0, "update": 1.0, "evaluate": 4.0, "other": 0.5}
    assert diagnostics.phase_seconds([]) == {}


def test_seconds_of_a_plan_stand_beside_those_that_were_taken() -> None:
    lines = [
        {"step": i, "time/sample": 3.0, "time/update": 2.0, "time/step": 5.0, "plan/sample": 1.0} for i in range(3)
    ]
    (figure,) = (f for f in figures.credit_figures([figures.RunData("run", lines, [])]) if f.name == "time_per_phase")
    taken, planned = figure.series
    assert (taken.label, taken.y.tolist()) == ("run", [3.0, 2.0])
    assert planned.label == "run, planned" and planned.y[0] == 1.0 and np.isnan(planned.y[1])
    assert finding(lines, "beyond_plan").value == 3.0 and finding(lines, "beyond_plan").level == "act"


def test_figures_and_csv_hold_the_same_numbers(workdir: Path, tmp_path: Path, groups: list[Group]) -> None:
    paths = report.write_report(report.Arguments(workdir, figures=True, out=tmp_path))
    rows = (tmp_path / "figures" / "credit_by_offset.csv").read_text().splitlines()[1:]
    found = credit_profile.offset_profile(diagnostics.rollouts_of(groups))
    assert [float(row.split(",")[2]) for row in rows] == pytest.approx(found.mean.tolist(), rel=1e-12)
    names = {path.stem for path in paths[1:]}
    drawn = figures.credit_figures([figures.RunData("run", read_run(workdir).metrics, groups)])
    assert {figure.name for figure in drawn} <= names
    for path in paths[1:]:
        start = {".png": b"\x89PNG", ".svg": b"<?xml", ".csv": b"series,"}[path.suffix]
        assert path.read_bytes().startswith(start)


def test_curves_are_the_metrics(workdir: Path) -> None:
    run: Run = read_run(workdir)
    reward = next(
        figure for figure in figures.curves([figures.RunData("run", run.metrics, [])]) if figure.name == "reward"
    )
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert reward.series[0].x.tolist() == [line["step"] for line in lines]
    assert reward.series[0].y.tolist() == [line["reward"] for line in lines]


def test_profile_text_shows_the_spike_at_the_divergence(workdir: Path) -> None:
    lines = write.credit_profile(workdir).splitlines()[1:]
    longest = max(lines, key=lambda line: line.count("█"))
    assert longest.split()[0] == "+0" and "divergence" in longest
    assert all("█" not in line for line in lines[:6])


def test_profile_text_of_nothing_and_of_wrong_lengths() -> None:
    assert "no credit profile" in credit_profile.credit_profile_text([0, 1], [math.nan, math.nan])
    with pytest.raises(ValueError, match="one value per offset"):
        credit_profile.credit_profile_text([0, 1], [1.0])


def lines_of(**series: list[float]) -> list[dict]:
    count = len(next(iter(series.values())))
    return [{"step": i + 1} | {key: values[i] for key, values in series.items()} for i in range(count)]


def finding(metrics: list[dict], name: str) -> health.Finding:
    return next(item for item in health.examine(metrics) if item.name == name)


@pytest.mark.parametrize(
    ("name", "metrics", "level"),
    [
        ("coverage", {"coverage": [0.9] * 8}, "ok"),
        ("coverage", {"coverage": [0.3] * 8}, "watch"),
        ("coverage", {"coverage": [0.1] * 8}, "act"),
        ("first_token_kl", {"first_token_kl": [0.0, 2.0]}, "act"),
        ("length_ratio", {"response_length": [100.0] * 10 + [40.0] * 10}, "act"),
        ("length_ratio", {"response_length": [100.0] * 3}, "unknown"),
        ("reward_drop", {"reward": [0.2] * 5 + [0.9] * 10 + [0.5] * 10}, "act"),
        ("teacher_drift", {"teacher_entropy": [0.5] * 10 + [0.1] * 10}, "act"),
        ("teacher_drift", {"teacher_entropy": [0.5] * 20}, "ok"),
        ("repeated_ngrams", {"repeated_ngrams": [0.5] * 3}, "act"),
        ("localization", {"credit_at_divergence": [0.1] * 4, "credit_before_divergence": [0.08] * 4}, "act"),
        ("localization", {"credit_at_divergence": [1.5] * 4, "credit_before_divergence": [0.0] * 4}, "ok"),
        ("unread_answers", {"verdict/no_answer": [6] * 3, "verdict/correct": [4] * 3}, "act"),
        ("verifier_failures", {"verdict/correct": [4] * 3}, "ok"),
        ("non_finite", {"loss": [1.0, None]}, "act"),
        ("non_finite", {"loss": [1.0, 0.5], "skipped": [0, 0]}, "ok"),
        ("kl_reference", {"loss": [1.0]}, "unknown"),
    ],
)
def test_health_levels(name: str, metrics: dict, level: str) -> None:
    assert finding(lines_of(**metrics), name).level == level


def test_health_names_the_urgent_first_and_always_says_what_to_do() -> None:
    levels = [
        item.level for item in health.examine(lines_of(coverage=[0.1] * 4, truncated=[0.2] * 4, masked=[0.0] * 4))
    ]
    assert levels == sorted(levels, key=["act", "watch", "ok", "unknown"].index)
    assert all(item.advice and item.meaning and item.limit for item in health.examine([]))
    assert {item.level for item in health.examine([])} == {"unknown"}


def test_thresholds_are_all_used() -> None:
    assert {item.name for item in health.examine([])} - {"non_finite"} == set(metric_table.THRESHOLDS)


def test_ratio_to_start_needs_a_trend() -> None:
    assert math.isnan(trends.ratio_to_start(lines_of(x=[1.0] * 5), "x"))
    assert trends.ratio_to_start(lines_of(x=[2.0] * 5 + [1.0] * 5), "x") == pytest.approx(0.5)

"""Benchmark numbers against their closed forms."""

from itertools import combinations
from math import comb

import numpy as np
import pytest

from hsd_jax.errors import InputError
from hsd_jax.evaluation import metrics
from hsd_jax.evaluation.metrics import RIGHT


@pytest.mark.parametrize(("samples", "correct"), [(1, 0), (1, 1), (6, 0), (6, 2), (6, 5), (6, 6)])
def test_pass_at_k_is_the_share_of_subsets_with_a_success(samples, correct):
    outcomes = [1] * correct + [0] * (samples - correct)
    for k in range(1, samples + 1):
        subsets = [max(subset) for subset in combinations(outcomes, k)]
        assert metrics.pass_at(correct, samples, k) == pytest.approx(np.mean(subsets), abs=1e-12)
        assert len(subsets) == comb(samples, k)


@pytest.mark.parametrize(("correct", "samples", "k"), [(1, 2, 0), (1, 2, 3), (3, 2, 1), (-1, 2, 1)])
def test_pass_at_k_refuses_what_has_no_meaning(correct, samples, k):
    with pytest.raises(InputError, match="pass@k needs"):
        metrics.pass_at(correct, samples, k)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([RIGHT, RIGHT, "2"], 1.0),
        ([RIGHT, "2", "2"], 0.0),
        ([RIGHT, "2", "", ""], 0.5),
        ([RIGHT, "2", "3"], 1 / 3),
        (["", ""], 0.0),
    ],
)
def test_the_majority_of_all_samples_shares_ties(answers, expected):
    rng = np.random.default_rng(0)
    assert metrics.majority_at(answers, len(answers), rng) == pytest.approx(expected)


def test_the_majority_of_fewer_samples_is_the_mean_over_subsets():
    answers = [RIGHT] * 3 + ["2"] * 2
    exact = np.mean([metrics._vote(subset) for subset in combinations(answers, 3)])
    drawn = metrics.majority_at(answers, 3, np.random.default_rng(0))
    assert abs(drawn - exact) < 3 * np.sqrt(exact * (1 - exact) / metrics.SUBSETS)
    assert drawn == metrics.majority_at(answers, 3, np.random.default_rng(0))


def test_the_interval_agrees_with_the_standard_error():
    values = np.repeat([0.0, 1.0], [120, 280])
    found = metrics.bootstrap(values, seed=1)
    error = np.sqrt(0.7 * 0.3 / 400)
    assert found.value == pytest.approx(0.7)
    assert found.low == pytest.approx(0.7 - 1.96 * error, abs=0.01)
    assert found.high == pytest.approx(0.7 + 1.96 * error, abs=0.01)
    assert found == metrics.bootstrap(values, seed=1)
    with pytest.raises(InputError, match="no problem"):
        metrics.bootstrap(np.array([]))


def test_a_summary_names_every_k_and_votes_only_where_answers_are_known():
    rewards = np.array([[1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 0]])
    answers = [["4", "5", "5", ""], ["1", "2", "3", "4"], ["4", "4.0", "4", "7"]]
    found = metrics.summarize(rewards, answers)
    assert set(found) == {"mean@4", "pass@1", "pass@2", "pass@4", "maj@2", "maj@4"}
    assert found["mean@4"].value == found["pass@1"].value == pytest.approx(4 / 12)
    assert found["pass@4"].value == pytest.approx(2 / 3)
    assert found["maj@4"].value == pytest.approx(1 / 3), "right answers count together however they are spelled"
    assert set(metrics.summarize(rewards)) == {"mean@4", "pass@1", "pass@2", "pass@4"}
    assert metrics.ks(6) == [1, 2, 4, 6]


def test_difficulty_bins_cover_all_rates():
    rates = [0.0, 1 / 32, 0.25, 0.3, 0.75, 0.9, 1.0, None]
    names = [metrics.bin_of(rate) for rate in rates]
    assert names[0] == "never" and names[6] == "always" and names[7] == "unknown"
    assert names[1] == names[2] != names[3] == names[4] != names[5]
    found = metrics.by_bin(rates, list(range(8)))
    assert sum(count for count, _ in found.values()) == 8
    assert found["hard (up to 1/4)"] == (2, 1.5)
    assert list(found)[-1] == "unknown"

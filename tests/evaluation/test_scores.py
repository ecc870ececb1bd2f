"""Benchmark numbers against their closed forms."""

import operator
from fractions import Fraction
from itertools import combinations
from math import comb

import numpy as np
import pytest

from hsd_jax.errors import InputError
from hsd_jax.evaluation import metrics
from hsd_jax.evaluation.generate import Samples
from hsd_jax.evaluation.metrics import RIGHT
from hsd_jax.run import held_out


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


def value(text: str) -> float:
    return float(Fraction(text))


def test_votes_do_not_depend_on_the_order_of_samples_nor_on_what_is_right():
    """One equivalence for right and wrong answers: with the grades turned round the classes stay."""
    answers = ["1/2", "0.5", "1", "2/4", "2", "1", "", "2.0", "0.5"]
    right = [value(text) == 0.5 for text in answers if text]
    right.insert(6, False)
    same = lambda left, right: value(left) == value(right)  # noqa: E731
    found = metrics.votes(answers, right, same)
    expected = [f"{RIGHT}0.5" if r else "" for r in right]
    assert [vote if vote.startswith(RIGHT) else "" for vote in found] == expected
    classes = [vote.removeprefix(RIGHT).removeprefix(metrics.WRONG) for vote in found]
    assert classes == ["0.5", "0.5", "1", "0.5", "2", "1", "", "2", "0.5"]
    for order in (np.random.default_rng(seed).permutation(len(answers)) for seed in range(5)):
        shuffled = metrics.votes([answers[i] for i in order], [right[i] for i in order], same)
        assert shuffled == [found[i] for i in order]
    inverted = metrics.votes(answers, [not r for r in right], same)
    assert [vote.removeprefix(RIGHT).removeprefix(metrics.WRONG) for vote in inverted] == classes


def test_a_comparison_over_its_time_limit_leaves_an_answer_alone_and_is_not_repeated():
    asked = []

    def same(left, right):
        asked.append((left, right))
        raise TimeoutError

    found = metrics.votes(["a", "a", "b", "c"], [False] * 4, same)
    assert len(set(found)) == 3 and asked == [("a", "b"), ("a", "c")]


def test_no_answer_can_pretend_to_be_right():
    assert metrics.majority_at(metrics.votes([RIGHT], [False], operator.eq), 1, np.random.default_rng(0)) == 0


def test_difficulty_bins_cover_all_rates():
    rates = [0.0, 1 / 32, 0.25, 0.3, 0.75, 0.9, 1.0, None]
    names = [metrics.bin_of(rate) for rate in rates]
    assert names[0] == "never" and names[6] == "always" and names[7] == "unknown"
    assert names[1] == names[2] != names[3] == names[4] != names[5]
    found = metrics.by_bin(rates, list(range(8)))
    assert sum(count for count, _ in found.values()) == 8
    assert found["hard (up to 1/4)"] == (2, 1.5)
    assert list(found)[-1] == "unknown"


def test_right_paths_are_the_different_texts_among_the_right_answers():
    rewards_PG = [[1, 1, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1]]
    texts_PG = [["a", "a", "b", "c"], ["a", "b", "c", "d"], ["a"] * 4]
    np.testing.assert_array_equal(metrics.right_paths(rewards_PG, texts_PG), [2, 0, 1])


@pytest.mark.parametrize(("samples", "ks"), [(3, [1]), (4, [1, 4]), (20, [1, 4, 16])])
def test_a_run_records_every_pass_at_k_that_its_samples_allow(samples, ks):
    right = [1, samples]  # of the samples of each question
    sampled, greedy = (
        [answers(f"q{p}", c, n) for p, c in enumerate(many)] for many, n in ((right, samples), ((0, 1), 1))
    )
    found = held_out.measured(sampled, greedy)
    expected = {f"eval/pass@{k}": np.mean([1 - comb(samples - c, k) / comb(samples, k) for c in right]) for k in ks}
    assert found == pytest.approx({**expected, "eval/right_paths": (1 + samples) / 2, "eval/greedy": 0.5})


def answers(name: str, correct: int, samples: int) -> Samples:
    """Answers of which `correct` are right, each in its own words."""
    rewards = (1.0,) * correct + (0.0,) * (samples - correct)
    texts = tuple(f"text {i}" for i in range(samples))
    return Samples(name, rewards, ("correct",) * samples, ("7",) * samples, (5,) * samples, (True,) * samples, texts)


def test_of_several_sources_each_has_its_own_scores():
    sampled = [answers(f"q{p}", c, 4) for p, c in enumerate((0, 4, 2))]
    greedy = [answers(f"q{p}", c, 1) for p, c in enumerate((1, 0, 1))]
    found = held_out.by_source(["gsm8k", "apps", "gsm8k"], sampled, greedy)
    assert found["eval/pass@1/gsm8k"] == 0.25 and found["eval/pass@1/apps"] == 1.0
    assert found["eval/greedy/gsm8k"] == 1.0 and found["eval/greedy/apps"] == 0.0
    assert held_out.by_source(["gsm8k"] * 3, sampled, greedy) == {}

"""The numbers of an evaluation against plain loops over its answers."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from hsd_jax.data.problems import Problem
from hsd_jax.evaluation.generate import Samples
from hsd_jax.evaluation.results import summary

REASONS = ("correct", "wrong", "no_answer", "timeout")
SAMPLES = 4


@pytest.fixture(scope="module")
def problems() -> list[Problem]:
    difficulties = (None, 0.0, 0.1, 0.25, 0.5, 0.9, 1.0)
    return [Problem(f"q{n}", "s", "math", "?", "7", difficulty=d) for n, d in enumerate(difficulties)]


@pytest.fixture(scope="module")
def answered(problems: Sequence[Problem]) -> list[Samples]:
    rng = np.random.default_rng(4)
    made = []
    for problem in problems:
        reasons = tuple(str(rng.choice(REASONS)) for _ in range(SAMPLES))
        made.append(
            Samples(
                id=problem.id,
                rewards=tuple(float(reason == "correct") for reason in reasons),
                reasons=reasons,
                extracted=tuple({"correct": "7", "wrong": "8"}.get(reason) for reason in reasons),
                lengths=tuple(rng.integers(1, 50, SAMPLES).tolist()),
                finished=tuple((rng.random(SAMPLES) < 0.7).tolist()),
                texts=("",) * SAMPLES,
            )
        )
    return made


def test_counts_lengths_and_truncation(problems: list[Problem], answered: list[Samples]) -> None:
    found = summary(problems, answered)
    samples = [(one, i) for one in answered for i in range(SAMPLES)]
    assert dict(found.counts) == {f"verdict/{k}": n for k, n in Counter(o.reasons[i] for o, i in samples).items()}
    assert found.lengths["response_tokens"] == sum(one.lengths[i] for one, i in samples)
    assert found.lengths["response_length"] == pytest.approx(found.lengths["response_tokens"] / len(samples))
    cut = sum(not one.finished[i] for one, i in samples)
    assert 0 < cut < len(samples) and found.lengths["truncated"] == pytest.approx(cut / len(samples))


def test_pass_at_1_and_its_bins_are_means_over_questions(problems: list[Problem], answered: list[Samples]) -> None:
    found = summary(problems, answered)
    means = {one.id: sum(one.rewards) / SAMPLES for one in answered}
    assert found.metrics["pass@1"]["value"] == pytest.approx(sum(means.values()) / len(means))
    assert found.metrics["pass@4"]["value"] == pytest.approx(np.mean([max(one.rewards) for one in answered]))
    assert 0 < found.metrics["pass@1"]["value"] < found.metrics["pass@4"]["value"]
    assert found.bins["hard (up to 1/4)"] == (2, pytest.approx((means["q2"] + means["q3"]) / 2))
    assert found.bins["unknown"] == (1, pytest.approx(means["q0"]))
    assert sum(count for count, _ in found.bins.values()) == len(problems)


def test_votes_go_to_answers_however_they_are_spelled(problems: list[Problem], answered: list[Samples]) -> None:
    """Two wrong samples of one value outvote a right one; without an answer there is no vote."""
    one = replace(answered[0], rewards=(1.0, 0.0, 0.0, 0.0), extracted=("7", "\\frac{1}{2}", "\\dfrac{1}{2}", None))
    assert summary(problems[:1], [one]).metrics["maj@4"]["value"] == 0
    one = replace(one, extracted=("7", "\\frac{1}{2}", None, None))
    assert summary(problems[:1], [one]).metrics["maj@4"]["value"] == 0.5


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (("0.5", "\\frac{1}{2}", "1/2"), 0.0),
        (("x+1", "1+x", "(1+x)"), 0.0),
        (("2, 1", "1, 2", "\\{1,2\\}"), 0.0),
        (("0.5", "0.6", "\\frac{1}{2}"), 0.5),
        (("8", "9", "10"), 1.0),
    ],
)
def test_wrong_answers_are_one_vote_where_they_are_equal(
    problems: list[Problem], answered: list[Samples], wrong: tuple[str, ...], expected: float
) -> None:
    """Two right answers against three wrong ones, each spelled in another way."""
    one = Samples(
        id="q0",
        rewards=(1.0, 1.0, 0.0, 0.0, 0.0),
        reasons=("correct", "correct", "wrong", "wrong", "wrong"),
        extracted=("7", "7.0", *wrong),
        lengths=(1,) * 5,
        finished=(True,) * 5,
        texts=("",) * 5,
    )
    assert summary(problems[:1], [one]).metrics["maj@5"]["value"] == expected


def test_programs_have_no_majority(problems: list[Problem], answered: list[Samples]) -> None:
    mixed = [replace(problems[0], kind="code"), *problems[1:]]
    assert not any(name.startswith("maj") for name in summary(mixed, answered).metrics)
    assert any(name.startswith("maj") for name in summary(problems, answered).metrics)

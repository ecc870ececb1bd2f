"""Rows planned from lengths: everything fits, little is padding, few shapes."""

import numpy as np
import pytest

from hsd_jax.scoring.bin_packing import Lengths, Split, pack_problems
from hsd_jax.scoring.packing import Sizes


def log_normal(rng, mean, shape, cap, spread=0.6):
    sigma = np.sqrt(np.log(1 + spread**2))
    return np.clip(rng.lognormal(np.log(mean) - sigma**2 / 2, sigma, shape), 1, cap).astype(int)


def lengths(seed=0, mean=1536, problems=128, group=8):
    """Responses, question contexts, and two teacher contexts each with a peer of the group (coupled draws)."""
    rng = np.random.default_rng(seed)
    response_PG = log_normal(rng, mean, (problems, group), 4096)
    question_P1 = log_normal(rng, 150, (problems, 1), 1024)
    peers_P2 = np.stack([rng.choice(group, 2, replace=False) for _ in range(problems)])
    teacher_PM = question_P1 + 80 + np.take_along_axis(response_PG, peers_P2, 1)
    of_PG = (np.arange(group)[None] == peers_P2[:, :1]).astype(int)
    student = Lengths(question_P1, np.zeros_like(of_PG))
    return response_PG, (student, Lengths(teacher_PM, of_PG), student)


@pytest.mark.parametrize("rows", [1, 8, 32, 64])
@pytest.mark.parametrize("mean", [512, 1536, 3000])
def test_at_least_80_percent_of_the_positions_are_real(rows, mean):
    response_PG, streams = lengths(mean=mean)
    plan = pack_problems(response_PG, streams, rows, block=128)
    assert sorted(plan.order_P) == list(range(128))
    real = 3 * response_PG.sum() + sum(s.length_PM.sum() for s in streams)
    computed = rows * sum(s.context_tokens + s.response_tokens for s in plan.sizes)
    assert plan.utilization == pytest.approx(real / computed)
    assert plan.utilization >= 0.8


def test_every_row_fits():
    response_PG, streams = lengths(problems=32)
    plan = pack_problems(response_PG, streams, 4, block=64)
    in_rows = response_PG[plan.order_P].reshape(4, -1).sum(1)
    for sizes, stream in zip(plan.sizes, streams, strict=True):
        assert in_rows.max() <= sizes.response_tokens
        assert stream.length_PM[plan.order_P].reshape(4, -1).sum(1).max() <= sizes.context_tokens
        assert sizes.context_tokens % 64 == sizes.response_tokens % 64 == 0


def test_attention_is_paid_for_real_lengths_not_for_windows():
    response_PG, streams = lengths()
    block = 128
    plan = pack_problems(response_PG, streams, 8, block=block)
    minimum = 0
    teacher = streams[1]
    for of, length in zip(np.arange(128)[:, None] * 2 + teacher.context_index_PG, response_PG, strict=True):
        minimum += (length * teacher.length_PM.reshape(-1)[of] + length**2 / 2).sum()
    minimum += (teacher.length_PM**2 / 2).sum()
    assert 8 * plan.sizes[1].block_pairs * block**2 <= 1.4 * minimum


def test_sizes_compiled_before_are_used_again():
    sizes = []
    for seed in range(12):
        response_PG, streams = lengths(seed)
        plan = pack_problems(response_PG, streams, 8, block=128, known=sizes)
        sizes += [plan.sizes] if plan.sizes not in sizes else []
    assert len(sizes) <= 4


def test_known_sizes_that_are_too_small_or_far_too_large_are_not_used():
    response_PG, streams = lengths(problems=16)
    plan = pack_problems(response_PG, streams[:1], 2, block=128)
    small = (Sizes(128, 128, 9, 128),)
    large = tuple(Sizes(s.context_tokens, 2 * s.response_tokens, s.block_pairs, s.block) for s in plan.sizes)
    assert pack_problems(response_PG, streams[:1], 2, block=128, known=[small, large]).sizes == plan.sizes


def test_interleaved_parts_find_their_rows_side_by_side():
    response_PG, streams = lengths(problems=24)
    whole, split = (pack_problems(response_PG, streams, 6, block=64, split=Split(1, parts)) for parts in (1, 3))
    assert whole.sizes == split.sizes
    rows = [set(row) for part in range(3) for row in split.order_P[part::3].reshape(2, -1)]
    assert rows == [set(row) for row in whole.order_P.reshape(6, -1)]


def test_problems_that_do_not_divide_over_rows_are_refused():
    response_PG, streams = lengths(problems=6)
    with pytest.raises(ValueError, match="6 problems, 4 rows"):
        pack_problems(response_PG, streams, 4, block=128)

"""Which problems share a row, and how wide rows must be: planned on the host from lengths, before compiling.

Rows of a step must have equal sizes, so problems are spread such that the fullest row is hardly fuller than the mean;
sizes are rounded up a little and reused from step to step, so that few programs are ever compiled. All processes of a
run must plan from the lengths of the global batch, and so arrive at the same plan.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hsd_jax.scoring.packing import Sizes

IntArray = np.ndarray
SPREAD = 0.6  # of response lengths: standard deviation over mean, as measured on reasoning models
MOST_STEPS = 16  # of sizes per octave: they are rounded up by at most 1/16, more in small batches


@dataclass(frozen=True)
class Lengths:
    """The lengths of one stream's contexts: `length_PM`, and which of them each rollout reads, `of_PG`."""

    length_PM: IntArray
    context_index_PG: IntArray


@dataclass(frozen=True)
class Split:
    """Into how many minibatches a batch is split, an update each, and each of them into micro-batches of one gradient.

    The problem at place p belongs to minibatch p mod `minibatches`.
    """

    minibatches: int = 1
    micro_batches: int = 1


UNDIVIDED = Split()


@dataclass(frozen=True)
class RowPlan:
    """`order_P`: the problems row by row; `sizes` of each stream; `filled`: the share of positions that are tokens."""

    order_P: IntArray
    sizes: tuple[Sizes, ...]
    utilization: float


def pack_problems(
    length_PG: IntArray,
    streams: Sequence[Lengths],
    rows: int,
    *,
    block: int,
    split: Split = UNDIVIDED,
    known: Sequence[tuple[Sizes, ...]] = (),
) -> RowPlan:
    """Spreads P problems over `rows` rows of P / rows problems each and returns sizes that hold every row.

    The rows are those of the whole batch. A problem stays in its minibatch; within it, `order_P` is such that
    micro-batch k takes every problem at a place p with p mod `micro_batches` = k, and finds the problems of each of
    its rows side by side.

    `streams` are the forward passes over those rows (student, teacher, reference). `known` are the sizes already
    compiled; one of them is taken again if it is not much larger than needed.
    Raises: ValueError where P does not divide by `rows`, or `rows` by minibatches x micro-batches.
    """
    problems, minibatches, parts = len(length_PG), split.minibatches, split.micro_batches
    if rows < 1 or problems % rows or rows % (parts * minibatches):
        raise ValueError(
            f"pack_problems: {problems} problems, {rows} rows, {minibatches} x {parts} parts do not divide; change one"
        )
    responses_P = length_PG.sum(1)
    loads_PK = np.stack([responses_P] + [s.length_PM.sum(1) for s in streams], axis=1)
    cost_K = np.array([len(streams)] + [1] * len(streams))
    row_P, each = np.zeros(problems, int), rows // minibatches
    for k in range(minibatches):
        own_PK = loads_PK[k::minibatches]
        row_P[k::minibatches] = k * each + _exchange(_spread(own_PK @ cost_K, each), own_PK, cost_K, each)
    order_P = np.argsort(row_P, kind="stable")
    needed = tuple(
        _needed(length_PG[order_P], s.length_PM[order_P], s.context_index_PG[order_P], rows, block) for s in streams
    )
    steps = _steps_per_octave(length_PG.size)
    sizes = _compiled_before(needed, known, 1 + 2.5 / steps) or tuple(_rounded(size, steps) for size in needed)
    positions = rows * sum(size.context_tokens + size.response_tokens for size in sizes)
    order_P = order_P.reshape(minibatches, parts, -1).transpose(2, 1, 0).reshape(-1).astype(np.int32)
    return RowPlan(order_P, sizes, float((loads_PK @ cost_K).sum() / positions))


def _steps_per_octave(rollouts: int) -> int:
    """As fine as two standard deviations of a batch's total length: finer steps would only be compiled more often."""
    deviation = SPREAD / np.sqrt(rollouts)
    return int(np.clip(2 ** np.floor(np.log2(0.5 / deviation)), 2, MOST_STEPS))


def _spread(load_P: IntArray, rows: int) -> IntArray:
    """Greedy longest-first: each problem goes to the emptiest row that has a place left."""
    row_P, total_B = np.zeros(len(load_P), int), np.zeros(rows)
    places_B = np.full(rows, len(load_P) // rows)
    for p in np.argsort(-load_P, kind="stable"):
        row_P[p] = b = int(np.argmin(np.where(places_B > 0, total_B, np.inf)))
        total_B[b] += load_P[p]
        places_B[b] -= 1
    return row_P


def _exchange(row_P: IntArray, loads_PK: IntArray, cost_K: IntArray, rows: int, rounds: int = 32) -> IntArray:
    """Swaps problems between the row that is fullest in some respect and any other while that lowers the total size."""
    row_P = row_P.copy()
    for k in [k for _ in range(rounds) for k in range(len(cost_K))] if rows > 1 else []:
        total_BK = np.stack([np.bincount(row_P, column, rows) for column in loads_PK.T], axis=1)
        fullest = int(np.argmax(total_BK[:, k]))
        inside, outside = np.flatnonzero(row_P == fullest), np.flatnonzero(row_P != fullest)
        gain_ABK = loads_PK[outside][None] - loads_PK[inside][:, None]
        other_B = row_P[outside]
        after_ABK = np.maximum(total_BK[fullest] + gain_ABK, total_BK[other_B][None] - gain_ABK)
        after_ABK = np.maximum(after_ABK, _largest_of_others(total_BK, fullest)[other_B][None])
        cost_AB = after_ABK @ cost_K
        a, b = np.unravel_index(np.argmin(cost_AB), cost_AB.shape)
        if cost_AB[a, b] < total_BK.max(0) @ cost_K:
            row_P[inside[a]], row_P[outside[b]] = other_B[b], fullest
    return row_P


def _largest_of_others(total_BK: IntArray, fullest: int) -> IntArray:
    """For each row b the largest total of the rows other than b and the fullest one."""
    totals = total_BK.copy()
    totals[fullest] = 0
    second, first = np.sort(totals, axis=0)[-2:]
    return np.where(np.arange(len(totals))[:, None] == np.argmax(totals, axis=0), second, first)


def _needed(length_PG: IntArray, length_PM: IntArray, of_PG: IntArray, rows: int, block: int) -> Sizes:
    """The smallest sizes (whole blocks) that hold every row."""
    contexts_BZ, responses_BZ = length_PM.reshape(rows, -1), length_PG.reshape(rows, -1)
    context_tokens = _blocks(contexts_BZ.sum(1).max(), block)
    response_tokens = _blocks(responses_BZ.sum(1).max(), block)
    blocks, distinct = (context_tokens + response_tokens) // block, length_PM.shape[1]
    in_row_P = np.arange(len(length_PG)) % (len(length_PG) // rows)
    of_BZ = (of_PG + distinct * in_row_P[:, None]).reshape(rows, -1)
    pairs = 0
    pairs = max(
        _pairs(_extent(contexts_Z, 0, block), _extent(responses_Z, context_tokens, block), of_Z, blocks)
        for contexts_Z, responses_Z, of_Z in zip(contexts_BZ, responses_BZ, of_BZ, strict=True)
    )
    return Sizes(context_tokens, response_tokens, pairs, block)


def _pairs(contexts_Z2: IntArray, responses_Z2: IntArray, of_Z: IntArray, blocks: int) -> int:
    """How many pairs of blocks of a row see anything of each other; NumPy twin of `packed_attention.visible_blocks`."""
    seen = np.zeros((blocks, blocks), bool)
    for first, last in [*contexts_Z2, *responses_Z2]:
        seen[first:last, first:last] |= np.tri(last - first, dtype=bool)
    for (first, last), of in zip(responses_Z2, of_Z, strict=True):
        seen[first:last, slice(*contexts_Z2[of])] = True
    return int(seen.sum())


def _extent(length_Z: IntArray, start: int, block: int) -> IntArray:
    """[first, last) block of each sequence, back to back from `start`; empty sequences touch none."""
    end_Z = start + np.cumsum(length_Z)
    first_Z, last_Z = (end_Z - length_Z) // block, -(-end_Z // block)
    return np.stack([first_Z, np.where(length_Z > 0, last_Z, first_Z)], axis=1)


def _blocks(tokens: int, block: int) -> int:
    return max(-(-int(tokens) // block), 1) * block


def _rounded(size: Sizes, steps: int) -> Sizes:
    """Up to the next of `steps` steps per octave, in whole blocks."""
    context_tokens, response_tokens = (
        _blocks(_step(n, steps), size.block) for n in (size.context_tokens, size.response_tokens)
    )
    return Sizes(context_tokens, response_tokens, _step(size.block_pairs, steps), size.block)


def _step(n: int, steps: int) -> int:
    unit = max(2 ** int(np.log2(max(n, 1))) // steps, 1)
    return -(-n // unit) * unit


def _compiled_before(needed: tuple[Sizes, ...], known: Sequence[tuple[Sizes, ...]], reuse: float) -> tuple[Sizes, ...]:
    """The smallest known sizes that hold what is needed without being much larger; () if there are none."""

    def excess(sizes: tuple[Sizes, ...]) -> float:
        have, need = (
            np.array([(s.context_tokens, s.response_tokens, s.block_pairs) for s in x]) for x in (sizes, needed)
        )
        fits = (have >= need).all() and all(a.block == b.block for a, b in zip(sizes, needed, strict=True))
        return (have[:, :2].sum() / need[:, :2].sum()) if fits else np.inf

    best = min(known, key=excess, default=())
    return best if best and excess(best) <= reuse else ()

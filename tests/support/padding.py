"""Rows of different lengths as right-padded NumPy arrays."""

from collections.abc import Sequence

import numpy as np

from hsd_jax.scoring.packing import Sizes
from hsd_jax.types import Array, Contexts, Padded


def right_padded(rows: Sequence[Sequence[int]], width: int = 0, *, pad_id: int = 0) -> Padded:
    """One row of ids each, padded to `width`, or to the longest row (at least 1)."""
    tokens = np.full((len(rows), width or max(1, *map(len, rows))), pad_id, np.int32)
    for row, ids in zip(tokens, rows, strict=True):
        row[: len(ids)] = ids
    return Padded(tokens, np.array([len(ids) for ids in rows], np.int32))  # type: ignore[arg-type]


def constant(ids: Sequence[int]) -> Padded:
    """One text for all problems, without a problem axis."""
    return Padded(np.array(ids, np.int32), np.int32(len(ids)))  # type: ignore[arg-type]


def right_padded_groups(groups: Sequence[Sequence[Sequence[int]]], width: int, *, pad_id: int = 0) -> Padded:
    """The same for groups of rows: tokens [P, G, width], lengths [P, G]."""
    flat = right_padded([ids for group in groups for ids in group], width, pad_id=pad_id)
    shape = len(groups), len(groups[0])
    return Padded(flat.tokens.reshape(*shape, width), flat.length.reshape(shape))


def fixed_texts(**own: list[int]) -> dict[str, Padded]:
    """Every fixed text of a view as one or two ids that nothing else has; `own` replaces some of them."""
    texts = {
        "peer_open": [50],
        "peer_close": [51, 52],
        "closing": [53],
        "opening": [54],
        "attempt_open": [49],
        "attempt_close": [48],
        "failed_open": [55],
        "failed_close": [56],
        "other_open": [57],
        "other_close": [58],
        "answer_empty": [59, 51],
        "solution_empty": [59, 52],
        "feedback_empty": [59, 53],
        "rubric_empty": [59, 54],
        "skill_empty": [59, 55],
        "canonical_empty": [],
    }
    return {name: constant(ids) for name, ids in (texts | own).items()}


def full_sizes(contexts: Contexts, response_PGT: Array, problems: int, *, block: int) -> Sizes:
    """Sizes that hold `problems` problems in a row whatever their lengths."""
    (_, distinct, window), (group, steps) = contexts.tokens_PMC.shape[-3:], response_PGT.shape[-2:]
    context_tokens = -(-problems * distinct * window // block) * block
    response_tokens = -(-problems * group * steps // block) * block
    pairs = ((context_tokens + response_tokens) // block) ** 2
    return Sizes(context_tokens, response_tokens, pairs, block)

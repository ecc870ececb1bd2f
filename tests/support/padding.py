"""Rows of different lengths as right-padded NumPy arrays."""

from collections.abc import Sequence

import numpy as np

from hsd_jax.types import Padded


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

"""Rows of different lengths as right-padded arrays."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from hsd_jax.types import Padded


def right_padded(rows: Sequence[Sequence[int]], width: int = 0) -> Padded:
    """One row of ids each, padded with zeros to `width`, or to the longest row (at least 1)."""
    tokens = np.zeros((len(rows), width or max(1, *map(len, rows))), np.int32)
    for row, ids in zip(tokens, rows, strict=True):
        row[: len(ids)] = ids
    return Padded(jnp.asarray(tokens), jnp.asarray([len(ids) for ids in rows], jnp.int32))


def right_padded_groups(groups: Sequence[Sequence[Sequence[int]]], width: int) -> Padded:
    """The same for groups of rows: tokens [P, G, width], lengths [P, G]."""
    flat = right_padded([ids for group in groups for ids in group], width)
    shape = len(groups), len(groups[0])
    return Padded(flat.tokens.reshape(*shape, width), flat.length.reshape(shape))

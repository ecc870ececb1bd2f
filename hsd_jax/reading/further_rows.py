"""Texts that nobody sampled and that join a group as further rows: they are learned from and counted nowhere else."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax.numpy as jnp

from hsd_jax.types import Array, Padded, Problems, Rollouts


@dataclass(frozen=True)
class FurtherRow:
    """What a row is made of: which further texts of the problem, and `make(problems, rollouts, success_PG) -> [P]`.

    A row of length 0 is not there.
    """

    texts: tuple[str, ...]
    make: Callable[[Problems, Rollouts, Array], Padded]


def golden(problems: Problems, rollouts: Rollouts, success_PG: Array) -> Padded:
    """The reference solution as a response, with the id that ends one."""
    return problems.text("golden")


def likeliest_success_or_golden(problems: Problems, rollouts: Rollouts, success_PG: Array) -> Padded:
    """The success of the group that its policy wrote most readily (mean log-probability), else the reference solution.

    Source: arXiv:2605.09725, whose teacher writes the candidates.
    """
    inside_PGT = jnp.arange(rollouts.response_PGT.shape[2])[None, None] < rollouts.length_PG[..., None]
    mean_PG = jnp.sum(jnp.where(inside_PGT, rollouts.logprob_PGT, 0.0), axis=2) / jnp.maximum(rollouts.length_PG, 1)
    best_P = jnp.argmax(jnp.where(success_PG, mean_PG, -jnp.inf), axis=1)
    tokens_PT = jnp.take_along_axis(rollouts.response_PGT, best_P[:, None, None], axis=1)[:, 0]
    length_P = jnp.take_along_axis(rollouts.length_PG, best_P[:, None], axis=1)[:, 0]
    found_P, text = jnp.any(success_PG, axis=1), problems.text("golden")
    return Padded(jnp.where(found_P[:, None], tokens_PT, text.tokens), jnp.where(found_P, length_P, text.length))


def joined(rows: Sequence[Padded]) -> Padded:
    """The rows of all problems side by side: tokens [P, E, T], length [P, E]."""
    return Padded(jnp.stack([row.tokens for row in rows], axis=1), jnp.stack([row.length for row in rows], axis=1))


GOLDEN = FurtherRow(("golden",), golden)
SUCCESS_OR_GOLDEN = FurtherRow(("golden",), likeliest_success_or_golden)

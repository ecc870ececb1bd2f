"""Who gets credit, and how much: selections, advantages, reward shaping, normalization, schedules; all before the loss.

Each kind of function has one signature, and a method's row names one of each kind.
"""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from hsd_jax.types import Array

OUT = -(2**30)  # below every rank
EPSILON = 1e-6  # added to the standard deviation of a group's rewards, as verl does

# --- who is distilled: (success_PG, kept_PG, length_PG) -> bool [P, G]; kept = its teacher reads an attempt


def all_rollouts(success_PG: Array, kept_PG: Array, length_PG: Array) -> Array:
    """Every rollout, as Eq. 10 sums them."""
    return jnp.ones_like(success_PG)


def failed(success_PG: Array, kept_PG: Array, length_PG: Array) -> Array:
    """Failed rollouts alone. Source: arXiv:2604.02288."""
    return ~success_PG


def with_peer(success_PG: Array, kept_PG: Array, length_PG: Array) -> Array:
    """Rollouts whose teacher reads a peer: no endpoint fallback. Source: arXiv:2601.20802."""
    return kept_PG


def successful_with_peer(success_PG: Array, kept_PG: Array, length_PG: Array) -> Array:
    """Successful rollouts whose teacher reads another success. Source: arXiv:2605.10781."""
    return success_PG & kept_PG


def failed_with_peer(success_PG: Array, kept_PG: Array, length_PG: Array) -> Array:
    """Failures whose teacher reads an attempt. Source: arXiv:2604.02288."""
    return ~success_PG & kept_PG


def shortest_success(success_PG: Array, kept_PG: Array, length_PG: Array) -> Array:
    """The shortest success of each group, or those of one length, if its teacher reads an attempt.

    Source: arXiv:2609.37915.
    """
    return _highest(jnp.where(success_PG, -length_PG, OUT)) & success_PG & kept_PG


def longest_failure(success_PG: Array, kept_PG: Array, length_PG: Array) -> Array:
    """The longest failure of each group, or those of one length, if its teacher reads an attempt.

    Source: arXiv:2605.17497.
    """
    return _highest(jnp.where(success_PG, OUT, length_PG)) & ~success_PG & kept_PG


def _highest(rank_PG: Array) -> Array:
    """All of the highest rank of a group: a choice by their order in it would hang on how they were drawn."""
    return rank_PG == rank_PG.max(axis=1, keepdims=True)


# --- the gate on top of that: success_PG -> bool [P, G]


def whoever(success_PG: Array) -> Array:
    """Nobody is left out."""
    return jnp.ones_like(success_PG)


def correct_only(success_PG: Array) -> Array:
    """Successes alone. Source: arXiv:2605.06188."""
    return success_PG


def failed_only(success_PG: Array) -> Array:
    """Failures alone. Source: arXiv:2605.06188."""
    return ~success_PG


# --- reward shaping: (rewards_PG, length_PG, limit_P1) -> rewards_PG; peers and filters use the unshaped rewards


def plain_rewards(rewards_PG: Array, length_PG: Array, limit_P1: Array) -> Array:
    """R as the verifier gave it."""
    return rewards_PG


def soft_overlong(rewards_PG: Array, length_PG: Array, limit_P1: Array) -> Array:
    """R - max(0, (|o| - (limit - buffer)) / buffer), buffer = limit / 8. Source: arXiv:2503.14476, Eq. 13.

    A group of equal rewards keeps them: dynamic sampling drops such groups, and where one fills a step it must not
    train on length alone.
    """
    buffer_P1 = limit_P1 / 8
    penalty_PG = jnp.clip((length_PG - (limit_P1 - buffer_P1)) / buffer_P1, 0, 1)
    return rewards_PG - jnp.where(equal_in_group(rewards_PG), 0.0, penalty_PG)


# --- advantages: rewards_PG -> advantages_PG


def no_advantage(rewards_PG: Array) -> Array:
    """Rewards do not weigh tokens."""
    return jnp.zeros_like(rewards_PG)


def standardized(rewards_PG: Array) -> Array:
    """(R - mean) / (sample std + 1e-6) over the group; 0 where all rewards are equal. Source: arXiv:2402.03300."""
    centered_PG = centered(rewards_PG)
    variance_P1 = jnp.sum(jnp.square(centered_PG), axis=1, keepdims=True) / max(rewards_PG.shape[1] - 1, 1)
    return centered_PG / (jnp.sqrt(variance_P1) + EPSILON)


def centered(rewards_PG: Array) -> Array:
    """R - mean over the group, exactly 0 where all rewards are equal. Source: arXiv:2503.20783."""
    return jnp.where(equal_in_group(rewards_PG), 0.0, rewards_PG - jnp.mean(rewards_PG, axis=1, keepdims=True))


def equal_in_group(rewards_PG: Array) -> Array:
    """Whether all rewards of a group are the same, bool [P, 1]: such a group says nothing about its rollouts."""
    return jnp.all(rewards_PG == rewards_PG[:, :1], axis=1, keepdims=True)


# --- which tokens are in the loss: (steps_T, updates so far) -> bool [T]


def counted_tokens(steps_T: Array, step: Array, *, skip: int, horizon: float, grows_every: int) -> Array:
    """All but the first `skip` tokens, up to the horizon (`reach`)."""
    return (steps_T >= skip) & (steps_T < reach(len(steps_T), step, horizon, grows_every))


def reach(window: int, step: Any, horizon: float, grows_every: int) -> Any:
    """Tokens of a response up to the horizon after so many updates: as many again every `grows_every` (0: never).

    A horizon below 1 is a share of the window, 0 is none. Source: arXiv:2605.31490.
    """
    first = math.ceil(horizon * window) if horizon < 1 else int(horizon)
    return (first or window) * (1 + (step // grows_every if grows_every else 0))


# --- normalization: the tokens in the loss, of the global batch -> weights_PGT


def sequence_mean(counted_PGT: Array) -> Array:
    """One over the tokens of the rollout (1 / |o_i|), over the number of rollouts. Source: arXiv:2606.15576, Eq. 10."""
    tokens_PG1 = jnp.sum(counted_PGT, axis=2, keepdims=True)
    return counted_PGT / jnp.maximum(tokens_PG1, 1) / (counted_PGT.shape[0] * counted_PGT.shape[1])


def token_mean(counted_PGT: Array) -> Array:
    """One over the number of tokens. Source: arXiv:2503.14476, Eq. 8."""
    return counted_PGT / jnp.maximum(jnp.sum(counted_PGT), 1)


def constant(counted_PGT: Array) -> Array:
    """One over the number of rollouts times the response window. Source: arXiv:2503.20783."""
    return counted_PGT / counted_PGT.size


# --- schedules: number of updates so far -> strength of the method's signal, a device scalar

Schedule = Callable[[Array], Array]


def steady(step: Array) -> Array:
    """Always 1."""
    return jnp.ones(())


def fading(start: float, steps: int) -> Schedule:
    """From `start` linearly to 0 over `steps` updates."""
    return lambda step: start * jnp.maximum(1 - step / steps, 0.0)


def after_warmup(strength: float, steps: int) -> Schedule:
    """0 for the first updates, then `strength`."""
    return lambda step: jnp.where(step < steps, 0.0, strength)


# --- log-ratios of whole rollouts, at each of their tokens: (logprob of the current policy, when called;
#     old_logprob_PGT, length_PG) -> [P, G, T]


def no_rollout_ratio(logprob_PGT: Callable[[], Array], old_PGT: Array, length_PG: Array) -> Array:
    """Zeros: every token has its own ratio, and the policy need not be scored beforehand."""
    return jnp.zeros_like(old_PGT)


def mean_rollout_ratio(logprob_PGT: Callable[[], Array], old_PGT: Array, length_PG: Array) -> Array:
    """mean_t (log p - log p_old) of each rollout, at each of its tokens. Source: arXiv:2507.18071, Eq. 7."""
    return _mean_over_rollout(logprob_PGT() - old_PGT, length_PG)


def mean_clipped_ratio(logprob_PGT: Callable[[], Array], old_PGT: Array, length_PG: Array) -> Array:
    """log mean_t min(p / p_old, 2) of each rollout, at each of its tokens. Source: arXiv:2601.19897, released code."""
    mean_PGT = _mean_over_rollout(jnp.minimum(jnp.exp(logprob_PGT() - old_PGT), 2.0), length_PG)
    return jnp.where(length_PG[..., None] > 0, jnp.log(mean_PGT), 0.0)


def _mean_over_rollout(values_PGT: Array, length_PG: Array) -> Array:
    valid_PGT = jnp.arange(values_PGT.shape[2])[None, None, :] < length_PG[..., None]
    total_PG1 = jnp.sum(jnp.where(valid_PGT, values_PGT, 0.0), axis=2, keepdims=True)
    return jnp.broadcast_to(total_PG1 / jnp.maximum(length_PG[..., None], 1), values_PGT.shape)

"""From logits to one token id per row: temperature, top-k and top-p without sorting the vocabulary.

A token is drawn from the whole softmax by inverting its cumulative mass in two levels (blocks, then inside a block),
which takes two uniform numbers instead of one per vocabulary entry. A drawn token outside the nucleus is rejected and
the draw repeated among the strictly likelier ones only. Every such set still contains the nucleus, so the accepted
token is distributed exactly as the softmax restricted to the nucleus, and the sets shrink like those of quickselect.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.tree_util import register_dataclass

from hsd_jax.errors import InputError

Array = jax.Array
BLOCK = 128
STOP_IDS = 8  # width of the stop list, so that the number of stop ids is no shape


@register_dataclass
@dataclass(frozen=True)
class SamplingParams:
    """How tokens are chosen; all fields are arrays, so changing one compiles nothing. See `settings`."""

    temperature: Any
    top_p: Any
    top_k: Any
    stop_ids_E: Any


def sampling_params(
    *, temperature: float = 1.0, top_p: float = 1.0, top_k: int = 0, stop_ids: Sequence[int] = ()
) -> SamplingParams:
    """Checked sampling settings: temperature 0 is greedy, top_p 1 and top_k 0 are off.

    With both, top-k acts first and top-p on what is left. Ties at the edge of either set are all kept.

    Raises:
        InputError: a value is out of range, or there are more than 8 stop ids.
    """
    if not (np.isfinite(temperature) and temperature >= 0):
        raise InputError(f"temperature must be a finite number >= 0 (0: greedy); got {temperature}")
    if not 0 < top_p <= 1:
        raise InputError(f"top_p must be in (0, 1] (1: off); got {top_p}; for greedy set temperature 0")
    if not 0 <= top_k < 1 << 31:
        raise InputError(f"top_k must be >= 0 (0: off) and below 2^31; got {top_k}")
    if len(stop_ids) > STOP_IDS or any(i < 0 for i in stop_ids):
        raise InputError(f"stop_ids takes at most {STOP_IDS} ids >= 0; got {list(stop_ids)}")
    padded = np.full(STOP_IDS, -1, np.int32)
    padded[: len(stop_ids)] = stop_ids
    return SamplingParams(np.float32(temperature), np.float32(top_p), np.int32(top_k), padded)


def sample_token(
    logits_BV: Array, key_B: Array, settings: SamplingParams, *, vocabulary: int, active_B: Array
) -> tuple[Array, Array]:
    """Chosen ids and their untruncated log-probabilities (temperature 1, all V entries), [B] each.

    Ids from `vocabulary` on are never chosen. Rows that are not `active_B` get an arbitrary id. A log-probability
    that is not finite marks a row whose logits were not.
    """
    logits_BV = logits_BV.astype(jnp.float32)
    log_total_B = jax.nn.logsumexp(logits_BV, axis=-1)
    real_V = jnp.arange(logits_BV.shape[-1]) < vocabulary
    allowed_BV = jnp.where(real_V[None, :], logits_BV, -jnp.inf)
    token_B = lax.cond(
        settings.temperature > 0,
        lambda: nucleus_sample(allowed_BV, key_B, settings, active_B & jnp.isfinite(log_total_B)),
        lambda: jnp.argmax(allowed_BV, axis=-1).astype(jnp.int32),
    )
    chosen_B = jnp.take_along_axis(logits_BV, token_B[:, None], axis=-1)[:, 0]
    return token_B, chosen_B - log_total_B


def nucleus_sample(logits_BV: Array, key_B: Array, settings: SamplingParams, active_B: Array) -> Array:
    """Ids [B] drawn from softmax(logits / temperature) restricted by top-k, then by top-p; -inf is never drawn."""
    score_BV = (logits_BV - jnp.max(logits_BV, axis=-1, keepdims=True)) / settings.temperature
    floor_B = lax.cond(
        settings.top_k > 0,
        lambda: kth_largest(score_BV, settings.top_k),
        lambda: jnp.full(score_BV.shape[0], -jnp.inf, jnp.float32),
    )
    score_BV = jnp.where(score_BV >= floor_B[:, None], score_BV, -jnp.inf)
    short = -score_BV.shape[1] % BLOCK
    score_BV = jnp.pad(score_BV, ((0, 0), (0, short)), constant_values=-jnp.inf)
    score_BnW = score_BV.reshape(score_BV.shape[0], -1, BLOCK)
    everything_B = jnp.full(score_BV.shape[0], -jnp.inf, jnp.float32)
    mass_Bn = jnp.exp(score_BnW).sum(-1)
    token_B = inverse_cdf_sample(score_BnW, everything_B, mass_Bn, fold(key_B, 0))
    return shrink_to_nucleus(score_BnW, mass_Bn, token_B, key_B, settings.top_p, active_B)


def shrink_to_nucleus(
    score_BnW: Array, mass_Bn: Array, token_B: Array, key_B: Array, top_p: Array, active_B: Array
) -> Array:
    """Redraws every row until its token is in the nucleus: mass of strictly likelier tokens < top_p * total.

    Above one half the test is made on the rest, mass of the token and the less likely > (1 - top_p) * total: the
    smaller sum has the smaller rounding error. One pass over the scores per round, none at all where top_p is 1.
    """
    total_B = mass_Bn.sum(-1)

    def body(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        round_, token_B, settled_B = carry
        level_B = at(score_BnW, token_B)
        above_Bn = jnp.where(score_BnW > level_B[:, None, None], jnp.exp(score_BnW), 0).sum(-1)
        # block by block, because the difference of two totals would carry the rounding error of a total
        rest_B = (mass_Bn - above_Bn).sum(-1)
        above_B = above_Bn.sum(-1)
        inside_B = jnp.where(top_p < 0.5, above_B < top_p * total_B, rest_B > (1 - top_p) * total_B)
        settled_B = settled_B | inside_B | (above_B <= 0)
        again_B = inverse_cdf_sample(score_BnW, level_B, above_Bn, fold(key_B, round_))
        return round_ + 1, jnp.where(settled_B, token_B, again_B), settled_B

    start = (jnp.int32(1), token_B, ~active_B | (top_p >= 1))
    return lax.while_loop(lambda carry: ~jnp.all(carry[2]), body, start)[1]


def inverse_cdf_sample(score_BnW: Array, level_B: Array, mass_Bn: Array, key_B: Array) -> Array:
    """One id per row, drawn in proportion to exp(score) among the scores strictly above `level_B`."""
    uniform_B2 = jax.vmap(lambda key: jax.random.uniform(key, (2,)))(key_B)
    block_B = invert(mass_Bn, uniform_B2[:, 0])
    inside_BW = jnp.take_along_axis(score_BnW, block_B[:, None, None], axis=1)[:, 0]
    mass_BW = jnp.where(inside_BW > level_B[:, None], jnp.exp(inside_BW), 0)
    return block_B * BLOCK + invert(mass_BW, uniform_B2[:, 1])


def invert(mass_BX: Array, uniform_B: Array) -> Array:
    """The index where the cumulative mass passes uniform * total; never an index without mass."""
    reached_BX = jnp.cumsum(mass_BX, axis=-1)
    passed_BX = reached_BX > (uniform_B * reached_BX[:, -1])[:, None]
    # parallel prefix sums round differently at each index: without `mass > 0` a step of one ulp could pick a zero
    hit_BX = passed_BX & (mass_BX > 0)
    return jnp.where(hit_BX.any(-1), jnp.argmax(hit_BX, -1), jnp.argmax(mass_BX, -1)).astype(jnp.int32)


def kth_largest(score_BV: Array, k: Array) -> Array:
    """The k-th largest score of every row (the smallest where k > V), by bisection on the bits of the floats."""
    ordered_BV = orderable(score_BV)

    def halve(bit: Array, found_B: Array) -> Array:
        tried_B = found_B | (jnp.uint32(1) << (31 - bit).astype(jnp.uint32))
        enough_B = (ordered_BV >= tried_B[:, None]).sum(-1) >= jnp.minimum(k, score_BV.shape[1])
        return jnp.where(enough_B, tried_B, found_B)

    found_B = lax.fori_loop(0, 32, halve, jnp.zeros(score_BV.shape[0], jnp.uint32))
    flipped_B = jnp.where(found_B >> 31 == 1, found_B ^ jnp.uint32(1 << 31), ~found_B)
    return lax.bitcast_convert_type(flipped_B, jnp.float32)


def orderable(x: Array) -> Array:
    """uint32 in the order of the floats: sign bit set for positive numbers, all bits flipped for negative ones."""
    bits = lax.bitcast_convert_type(jnp.where(x == 0, 0.0, x), jnp.uint32)  # -0 and +0 are equal
    return jnp.where(bits >> 31 == 1, ~bits, bits | jnp.uint32(1 << 31))


def at(score_BnW: Array, token_B: Array) -> Array:
    """The score of one id per row."""
    flat_BV = score_BnW.reshape(score_BnW.shape[0], -1)
    return jnp.take_along_axis(flat_BV, token_B[:, None], axis=1)[:, 0]


def fold(key_B: Array, data: Any) -> Array:
    """Every row's key, folded with one number."""
    return jax.vmap(lambda key: jax.random.fold_in(key, data))(key_B)


def fold_key(key: Array, id_B: Array, rollout_B: Array, position_B: Array) -> Array:
    """One key per row from (key, question id, rollout index, token position): where the row is computed is no part."""

    def one(*numbers: Array) -> Array:
        folded = key
        for number in numbers:
            folded = jax.random.fold_in(folded, number)
        return folded

    return jax.vmap(one)(id_B, rollout_B, position_B)

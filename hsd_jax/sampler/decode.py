"""The jitted programs of the sampler: reading prompts, and decoding a chunk of tokens in all slots.

They are compiled for shapes only: which slots are filled, how long, with what settings, are array values.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from hsd_jax.sampler.decode_sharding import DecodeParams, logits
from hsd_jax.sampler.state import CHECK, Cache, ChunkLimits, DecodeOutput, DecodeState
from hsd_jax.sampler.state import SamplerConfig as SamplerConfig
from hsd_jax.sampler.token_sampling import SamplingParams, fold_key, sample_token
from hsd_jax.types import Padded
from models import qwen3
from models.scan import Compute

Array = jax.Array


@partial(jax.jit, static_argnames="program")
def prefill(program: SamplerConfig, params: DecodeParams, prompts: Padded) -> Cache:
    """Keys and values [R, K, C, H] of every prompt but its last token, the last of them at the right edge.

    The last token is left to the first decode step, which so chooses the first response token like any other.
    """
    window = prompts.tokens.shape[1]
    source_RC = jnp.arange(window)[None, :] - (window - (prompts.length - 1))[:, None]
    valid_RC = source_RC >= 0
    tokens_RC = jnp.take_along_axis(prompts.tokens, jnp.maximum(source_RC, 0), axis=1)
    positions_RC = jnp.maximum(source_RC, 0)
    segments_RC = jnp.where(valid_RC, 0, -1)

    def attend(q: Array, k: Array, v: Array) -> tuple[Array, tuple[Array, Array]]:
        out = qwen3.reference_attention(q, k, v, segments_RC, segments_RC)
        return out, (jnp.swapaxes(k, 1, 2), jnp.swapaxes(v, 1, 2))

    x = qwen3.embed(params, tokens_RC, Compute(program.dtype))
    entries = []
    for weights in params["layers"]:
        x, entry = qwen3.layer(program.config, weights, x, positions_RC, program.wrap_attend(weights, attend))
        entries.append(entry)
    keys, values = zip(*entries, strict=True)
    # every shard of the slots may need any prompt, so prompts are whole on the data axis
    return program.layout.constrain(Cache(keys, values), None, "K", None, None)


@partial(jax.jit, static_argnames="program", donate_argnames=("cache", "slots"))
def decode(
    program: SamplerConfig,
    params: DecodeParams,
    cache: Cache,
    slots: DecodeState,
    settings: SamplingParams,
    key: Array,
    limits: ChunkLimits,
) -> tuple[Cache, DecodeState, DecodeOutput]:
    """Decode steps in rounds of 8, until one of the limits is reached.

    The caller sees to it that no active slot outgrows the ring.
    """
    rows = slots.token_B.shape[0]
    written = DecodeOutput(
        steps=jnp.int32(0),
        token_NB=jnp.zeros((program.chunk, rows), jnp.int32),
        logprob_NB=jnp.zeros((program.chunk, rows), jnp.float32),
        broken_B=jnp.zeros(rows, bool),
        count_B=slots.written_B,
        active_B=slots.active_B,
    )

    def works(carry: tuple[Cache, DecodeState, DecodeOutput]) -> Array:
        _, slots, written = carry
        idle = rows - slots.active_B.sum()
        return (written.steps < limits.steps) & (idle <= limits.idle) & (idle < rows)

    def round_(carry: tuple[Cache, DecodeState, DecodeOutput]) -> tuple[Cache, DecodeState, DecodeOutput]:
        return lax.fori_loop(0, CHECK, lambda _, c: decode_step(program, params, settings, key, *c), carry)

    cache, slots, written = lax.while_loop(works, round_, (cache, slots, written))
    cache = program.layout.constrain(cache, "B", "K", None, None)
    return cache, program.layout.rows(slots), program.layout.replicated(written)


def decode_step(
    program: SamplerConfig,
    params: DecodeParams,
    settings: SamplingParams,
    key: Array,
    cache: Cache,
    slots: DecodeState,
    written: DecodeOutput,
) -> tuple[Cache, DecodeState, DecodeOutput]:
    """Feeds one token per slot, writes its keys and values, and chooses the next token of the active slots."""
    config, length = program.config, cache.keys[0].shape[2]
    position_B1 = (slots.time - slots.start_B)[:, None]
    # ring place j was last written (slots.time - j) % S steps ago
    age_S = (slots.time - jnp.arange(length)) % length
    visible_BS = age_S[None, :] <= position_B1
    place = slots.time % length

    x = qwen3.embed(params, slots.token_B[:, None], Compute(program.dtype))
    keys, values = [], []
    for weights, k_BKSH, v_BKSH in zip(params["layers"], cache.keys, cache.values, strict=True):
        attend = program.wrap_attend(weights, cached_attend(k_BKSH, v_BKSH, place, visible_BS))
        x, (k, v) = qwen3.layer(config, weights, x, position_B1, attend)
        keys.append(k)
        values.append(v)
    hidden_BD = qwen3.final_norm(config, params, x)[:, 0]
    # stated in two steps: from the second alone XLA would rather gather the whole head on every device
    logits_BV = program.layout.constrain(logits(params, hidden_BD), "B", "V")
    logits_BV = program.layout.split_rows(logits_BV)
    key_B = fold_key(key, slots.id_B, slots.rollout_B, slots.written_B)
    token_B, logprob_B = sample_token(
        logits_BV, key_B, settings, vocabulary=program.vocabulary, active_B=slots.active_B
    )
    slots, written = record(slots, written, settings, token_B, logprob_B)
    return Cache(tuple(keys), tuple(values)), slots, written


def cached_attend(k_BKSH: Array, v_BKSH: Array, place: Array, visible_BS: Array) -> qwen3.Attend:
    """Attention of one token per row to the ring, itself included; hands out the updated ring."""

    def attend(q_B1NH: Array, k_B1KH: Array, v_B1KH: Array) -> tuple[Array, tuple[Array, Array]]:
        keys = lax.dynamic_update_slice_in_dim(k_BKSH, jnp.swapaxes(k_B1KH, 1, 2).astype(k_BKSH.dtype), place, axis=2)
        values = lax.dynamic_update_slice_in_dim(v_BKSH, jnp.swapaxes(v_B1KH, 1, 2).astype(v_BKSH.dtype), place, axis=2)
        rows, _, heads, size = q_B1NH.shape
        q_BKgH = q_B1NH.reshape(rows, keys.shape[1], -1, size)
        score = jnp.einsum("bkgh,bksh->bkgs", q_BKgH, keys, preferred_element_type=jnp.float32) * size**-0.5
        weight = jax.nn.softmax(jnp.where(visible_BS[:, None, None], score, -jnp.inf), axis=-1)
        out = jnp.einsum("bkgs,bksh->bkgh", weight.astype(values.dtype), values)
        return out.reshape(rows, 1, heads, size).astype(q_B1NH.dtype), (keys, values)

    return attend


def record(
    slots: DecodeState, written: DecodeOutput, settings: SamplingParams, token_B: Array, logprob_B: Array
) -> tuple[DecodeState, DecodeOutput]:
    """Notes one step's tokens; a slot ends at a stop id, at its limit, or where its logits were not finite."""
    broken_B = slots.active_B & ~jnp.isfinite(logprob_B)
    count_B = slots.written_B + slots.active_B
    stopped_B = (token_B[:, None] == settings.stop_ids_E[None, :]).any(-1)
    after = DecodeState(
        time=slots.time + 1,
        token_B=jnp.where(slots.active_B, token_B, slots.token_B),
        start_B=slots.start_B,
        written_B=count_B,
        limit_B=slots.limit_B,
        id_B=slots.id_B,
        rollout_B=slots.rollout_B,
        active_B=slots.active_B & ~stopped_B & ~broken_B & (count_B < slots.limit_B),
    )
    noted = DecodeOutput(
        steps=written.steps + 1,
        token_NB=lax.dynamic_update_index_in_dim(written.token_NB, token_B, written.steps, 0),
        logprob_NB=lax.dynamic_update_index_in_dim(written.logprob_NB, logprob_B, written.steps, 0),
        broken_B=written.broken_B | broken_B,
        count_B=after.written_B,
        active_B=after.active_B,
    )
    return after, noted

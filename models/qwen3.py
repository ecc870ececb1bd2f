"""Dense decoders (Qwen3, Qwen2, Llama): a pure decoder layer over a parameter dict, and a flax.nnx module before it.

A decoder layer does not know what it attends to: the caller passes `attend`. Plain sequences, groups of responses
that share a context, and decoding with a cache are three `attend` functions around the same `layer`. In what families
differ, a row of `models.families` says.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from models.attention import Attention, reference_attention
from models.config import Qwen3Config as Qwen3Config
from models.families import HEADS, frequencies, rms_norm
from models.scan import PLAIN, Compute, scan_layers

Array = jax.Array
Params = dict[str, Any]
# (q_BSNH, k_BSKH, v_BSKH), queries and keys rotated -> (out_BSNH, whatever the caller wants handed out)
Attend = Callable[[Array, Array, Array], tuple[Array, Any]]


@dataclass(frozen=True)
class LayerHooks:
    """What a caller does inside the layers.

    `attend(inputs)` is a layer's attention, where `inputs` is its slice of `per_layer` (any pytree with a leading L
    axis); `keep(x_BSD, aux)` says what a layer hands out of its output and of what its attention handed out.
    """

    attend: Callable[[Any], Attend]
    per_layer: Any = ()
    keep: Callable[[Array, Any], Any] = lambda x_BSD, aux: aux


def param_shapes(config: Qwen3Config) -> Params:
    """The shape of every parameter; layers are stacked on a leading axis."""
    c = config
    shapes: Params = {
        "embed_VD": (c.vocab_size, c.width),
        "layers": {
            "attn_norm_LD": (c.layers, c.width),
            "q_LDNH": (c.layers, c.width, c.heads, c.head_dim),
            "k_LDKH": (c.layers, c.width, c.kv_heads, c.head_dim),
            "v_LDKH": (c.layers, c.width, c.kv_heads, c.head_dim),
            "o_LNHD": (c.layers, c.heads, c.head_dim, c.width),
            **HEADS[c.family].shapes(c),
            "mlp_norm_LD": (c.layers, c.width),
            "gate_LDF": (c.layers, c.width, c.mlp_width),
            "up_LDF": (c.layers, c.width, c.mlp_width),
            "down_LFD": (c.layers, c.mlp_width, c.width),
        },
        "final_norm_D": (c.width,),
    }
    if not c.tied:
        shapes["head_DV"] = (c.width, c.vocab_size)
    return shapes


def init_params(config: Qwen3Config, key: Array, dtype: Any = jnp.float32) -> Params:
    """Random weights: normal(0, 0.02) matrices, norms at one; no block is zero."""
    shapes, treedef = jax.tree.flatten_with_path(param_shapes(config), is_leaf=lambda x: isinstance(x, tuple))
    keys = jax.random.split(key, len(shapes))

    def leaf(path: Any, shape: tuple[int, ...], key: Array) -> Array:
        if "norm" in path[-1].key:
            return jnp.ones(shape, dtype)
        return (0.02 * jax.random.normal(key, shape, jnp.float32)).astype(dtype)

    return jax.tree.unflatten(treedef, [leaf(p, s, k) for (p, s), k in zip(shapes, keys, strict=True)])


def rotate(x_BSNH: Array, positions_BS: Array, frequencies_H: Array) -> Array:
    """Rotary position embedding, halves convention, angles in float32 (bf16 angles are wrong past position 256).

    `frequencies_H` has one angle per position and pair, H / 2 of them.
    """
    angles_BSH = positions_BS[..., None].astype(jnp.float32) * frequencies_H[None, None, :]
    cos, sin = jnp.cos(angles_BSH)[:, :, None, :], jnp.sin(angles_BSH)[:, :, None, :]
    a, b = jnp.split(x_BSNH.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1).astype(x_BSNH.dtype)


def cast(weights: Params, dtype: Any) -> Params:
    """Matrices in the compute dtype; norm scales stay as they are, because norms are computed in float32.

    The model computes the same with weights that were cast before.
    """
    return jax.tree.map_with_path(lambda path, w: w if "norm" in path[-1].key else w.astype(dtype), weights)


def layer(config: Qwen3Config, weights: Params, x_BSD: Array, positions_BS: Array, attend: Attend) -> tuple[Array, Any]:
    """One decoder layer; `weights` are one layer's slice (leading L axis gone). Returns (x_BSD, aux of attend)."""
    w = cast(weights, x_BSD.dtype)
    h = rms_norm(x_BSD, w["attn_norm_LD"], config.norm_eps)
    q, k = jnp.einsum("bsd,dnh->bsnh", h, w["q_LDNH"]), jnp.einsum("bsd,dkh->bskh", h, w["k_LDKH"])
    q, k, v = HEADS[config.family].adjust(config, w, q, k, jnp.einsum("bsd,dkh->bskh", h, w["v_LDKH"]))
    frequencies_H = frequencies(config)
    q, k = rotate(q, positions_BS, frequencies_H), rotate(k, positions_BS, frequencies_H)
    q, k, v = checkpoint_name((q, k, v), "qkv")
    out_BSNH, aux = attend(q, k, v)
    out_BSNH = checkpoint_name(out_BSNH, "attention")
    x_BSD = x_BSD + jnp.einsum("bsnh,nhd->bsd", out_BSNH, w["o_LNHD"])
    h = rms_norm(x_BSD, w["mlp_norm_LD"], config.norm_eps)
    gate, up = jnp.einsum("bsd,df->bsf", h, w["gate_LDF"]), jnp.einsum("bsd,df->bsf", h, w["up_LDF"])
    return x_BSD + jnp.einsum("bsf,fd->bsd", jax.nn.silu(gate) * up, w["down_LFD"]), aux


def embed(params: Params, tokens: Array, how: Compute = PLAIN) -> Array:
    """Token embeddings in the compute dtype, where a batch lies."""
    return how.placement.batch(how.placement.lookup(params["embed_VD"], tokens, how.dtype))


def final_norm(config: Qwen3Config, params: Params, x: Array) -> Array:
    """The norm before the vocabulary head."""
    return rms_norm(x, params["final_norm_D"], config.norm_eps)


def head(params: Params) -> Array:
    """The vocabulary head [D, V]; the transposed embedding where they are tied."""
    return params["head_DV"] if "head_DV" in params else params["embed_VD"].T


def positions_of(valid_BS: Array, segments_BS: Array) -> Array:
    """The number of valid tokens before each token in its segment; pads take no position."""
    before = jnp.cumsum(valid_BS, axis=1) - valid_BS
    starts = jnp.concatenate([jnp.ones_like(valid_BS[:, :1]), segments_BS[:, 1:] != segments_BS[:, :-1]], axis=1)
    return before - jax.lax.cummax(jnp.where(starts, before, 0), axis=1)


def attend_to_self(attention: Attention, valid_BS: Array, segments_BS: Array) -> Attend:
    """Every token attends to the valid tokens of its segment up to itself; pads form a segment of their own."""
    segments_BS = jnp.where(valid_BS, segments_BS, -1)
    return lambda q, k, v: (attention(q, k, v, segments_BS, segments_BS), ())


def forward(
    config: Qwen3Config,
    params: Params,
    tokens_BS: Array,
    valid_BS: Array,
    *,
    segments_BS: Array | None = None,
    attention: Attention = reference_attention,
    how: Compute = PLAIN,
) -> Array:
    """Final hidden states [B, S, D] (after the last norm); pads may stand on either side.

    `segments_BS` (int32, >= 0, one contiguous run per sequence) packs several sequences into a row: each attends only
    to itself and its positions restart at 0. Without it a row is one sequence.
    """
    segments_BS = jnp.zeros(tokens_BS.shape, jnp.int32) if segments_BS is None else segments_BS
    positions_BS = positions_of(valid_BS, segments_BS)
    attend = attend_to_self(attention, valid_BS, segments_BS)
    return run_layers(config, params, tokens_BS, positions_BS, LayerHooks(lambda _: attend), how)[0]


def run_layers(
    config: Qwen3Config, params: Params, tokens_BS: Array, positions_BS: Array, hooks: LayerHooks, how: Compute = PLAIN
) -> tuple[Array, Any]:
    """Final hidden states [B, S, D] (after the last norm), and what the layers hand out, stacked on an L axis."""

    def body(x: Array, layer_inputs: tuple[Params, Any]) -> tuple[Array, Any]:
        weights, inputs = layer_inputs
        x, aux = layer(config, weights, x, positions_BS, hooks.attend(inputs))
        return x, hooks.keep(x, aux)

    x, kept = scan_layers(body, embed(params, tokens_BS, how), (params["layers"], hooks.per_layer), how)
    return final_norm(config, params, x), kept


def logits(params: Params, hidden: Array) -> Array:
    """Vocabulary logits, float32 with float32 accumulation."""
    return jnp.einsum("...d,dv->...v", hidden, head(params).astype(hidden.dtype), preferred_element_type=jnp.float32)


class Qwen3(nnx.Module):
    """The model as a flax.nnx module; `nnx.split` (or `params_of`) gives the pytree that everything else uses.

    `source` is the directory the weights came from; its tokenizer goes along when the model is saved.
    """

    def __init__(self, config: Qwen3Config, params: Params, *, source: str = ""):
        self.config = config
        self.source = source
        self.params = nnx.data(jax.tree.map(nnx.Param, params))

    def __call__(self, tokens_BS: Array, *, valid_BS: Array | None = None, segments_BS: Array | None = None) -> Array:
        """Logits [B, S, V] in float32; computed in the dtype of the weights, float32 products unabridged."""
        valid_BS = jnp.ones(tokens_BS.shape, bool) if valid_BS is None else valid_BS
        params = params_of(self)
        how = Compute(params["embed_VD"].dtype)
        # accelerators would multiply float32 in bfloat16 passes
        with jax.default_matmul_precision("highest"):
            hidden = forward(self.config, params, tokens_BS, valid_BS, segments_BS=segments_BS, how=how)
            return logits(params, hidden)


def params_of(model: Qwen3) -> Params:
    """The parameter pytree of a model."""
    return nnx.to_pure_dict(nnx.state(model, nnx.Param))["params"]

"""One scan over stacked layers, with rematerialization policies by name and the places where sharding is stated."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from models.errors import InputError

Array = jax.Array
PyTree = Any
# (x, one layer's slice) -> (x, whatever the layer hands out)
Body = Callable[[PyTree, PyTree], tuple[PyTree, Any]]

_keep = jax.checkpoint_policies
# What the backward pass finds stored per layer; everything else is recomputed. Names are set in `scan_layers`
# (layer_input) and in `qwen3.layer` (qkv, attention).
POLICIES: dict[str, Callable[..., Any]] = {
    "none": _keep.everything_saveable,
    "save-matmuls": _keep.dots_with_no_batch_dims_saveable,
    "save-attention": _keep.save_only_these_names("qkv", "attention"),
    "full": _keep.nothing_saveable,
    "offload-attention": _keep.save_and_offload_only_these_names(
        names_which_can_be_saved=[],
        names_which_can_be_offloaded=["layer_input", "qkv", "attention"],
        offload_src="device",
        offload_dst="pinned_host",
    ),
    "offload": _keep.save_and_offload_only_these_names(
        names_which_can_be_saved=[],
        names_which_can_be_offloaded=["layer_input"],
        offload_src="device",
        offload_dst="pinned_host",
    ),
}


@dataclass(frozen=True)
class ShardingHooks:
    """Where activations and weights lie on a mesh, as three functions; the defaults are one device's.

    `batch` states that leading axes are rows, split over the batch axes; `weights` gathers one layer's weights
    before use (FSDP), inside the scan body, so that gathering is per layer and is recomputed, never stored;
    `lookup(table_VD, tokens, dtype)` reads embeddings.
    """

    lookup: Callable[[Array, Array, Any], Array] = lambda table_VD, tokens, dtype: table_VD[tokens].astype(dtype)
    batch: Callable[[PyTree], PyTree] = lambda x: x
    weights: Callable[[PyTree], PyTree] = lambda w: w


LOCAL = ShardingHooks()


@dataclass(frozen=True)
class Compute:
    """How a forward pass is computed: the compute dtype, what the backward pass finds stored, and where arrays lie."""

    dtype: Any = jnp.float32
    remat: str = "none"
    placement: ShardingHooks = LOCAL


PLAIN = Compute()


def scan_layers(body: Body, x: PyTree, layer_weights: PyTree, how: Compute = PLAIN) -> tuple[PyTree, Any]:
    """x, aux = body(x, weights of layer l) for l = 0..L-1; `aux` comes back stacked on a leading L axis.

    `layer_weights` is any pytree with a leading L axis (the parameters, or a tuple of them and caches).
    Raises: InputError for an unknown `how.remat`.
    """
    remat, placement = how.remat, how.placement
    if remat not in POLICIES:
        raise InputError(f"remat = {remat!r}, allowed: {', '.join(POLICIES)}")

    def step(x: PyTree, weights: PyTree) -> tuple[PyTree, Any]:
        # named at the START of the body: naming the output would offload nothing, without a warning
        x = jax.tree.map(lambda leaf: checkpoint_name(leaf, "layer_input"), x)
        x, aux = body(placement.batch(x), placement.weights(weights))
        return placement.batch(x), aux

    if remat != "none":
        # inside a scan nothing can be merged across iterations, so the barrier against it would only cost
        step = jax.checkpoint(step, policy=POLICIES[remat], prevent_cse=False)
    return jax.lax.scan(step, x, layer_weights)

"""Weights and arrays as decoding wants them: one dict per layer, compute dtype, split over "tensor" inside a host.

Decoding uses a mesh of its own over the devices of one process: rows over "data", heads, mlp and vocabulary over
"tensor". Nothing is exchanged between processes while sampling, so hosts need not agree on anything.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from hsd_jax.errors import InputError
from hsd_jax.types import PyTree
from models import lora
from models.qwen3 import Params, Qwen3Config, param_shapes

# As `Params`, but "layers" is a tuple with one dict per layer (names keep their letters, without the L axis), and the
# head is "head_VD" (untied only) as TPUs read it for few rows: the other way round they copy it before every chunk.
DecodeParams = dict[str, Any]
AXES = {"B": "data", "K": "tensor", "N": "tensor", "F": "tensor", "V": "tensor"}


@dataclass(frozen=True)
class DecodeSharding:
    """Sharding constraints by axis letters; no-ops without a mesh."""

    mesh: Mesh | None

    def sharding(self, *letters: str | None, shape: tuple[int, ...] = ()) -> NamedSharding | None:
        """The sharding of an array with these axes; an axis whose size does not divide (`shape`) stays whole."""
        if self.mesh is None:
            return None
        axes = [AXES.get(letter or "") for letter in letters]
        for i, size in enumerate(shape[: len(axes)]):
            axis = axes[i]
            axes[i] = axis if axis is not None and size % self.mesh.shape[axis] == 0 else None
        return NamedSharding(self.mesh, P(*axes))

    def constrain(self, tree: PyTree, *letters: str | None) -> PyTree:
        """Every array of the tree has these axes."""
        if self.mesh is None:
            return tree
        return jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x, self.sharding(*letters, shape=x.shape)), tree)

    def rows(self, tree: PyTree) -> PyTree:
        """Vectors over rows are split, scalars are everywhere."""
        return jax.tree.map(lambda x: self.constrain(x, *"B"[: x.ndim]), tree)

    def replicated(self, tree: PyTree) -> PyTree:
        """Every array is whole everywhere."""
        return self.constrain(tree)

    def split_rows(self, x_BX: jax.Array) -> jax.Array:
        """Rows over all devices, so that work on whole rows needs no exchange; over "data" where they are too few."""
        if self.mesh is None:
            return x_BX
        even = x_BX.shape[0] % self.mesh.size == 0
        spec = P(("data", "tensor") if even else "data", None)
        return jax.lax.with_sharding_constraint(x_BX, NamedSharding(self.mesh, spec))

    def put(self, tree: PyTree, *letters: str | None) -> PyTree:
        """Host arrays on the devices; one explicit transfer."""
        return jax.device_put(tree, self.sharding(*letters))


def refuse_unusable(mesh: Mesh) -> None:
    """Runs a sum over a host's chips, as decoding will: the compiler of v5e and v6e may refuse such programs.

    It is asked at once, before weights are loaded. Where it ends the process instead, that is the log's last word.
    Raises: InputError naming the chip, and what to take instead.
    """
    rows = NamedSharding(mesh, P(mesh.axis_names))
    try:
        jax.block_until_ready(jax.jit(jnp.sum)(jax.device_put(np.ones(mesh.size, np.float32), rows)))
    except jax.errors.JaxRuntimeError as error:
        kind, why = mesh.devices.flat[0].device_kind, str(error).strip().splitlines()[0][:200]
        raise InputError(
            f"decoding: {kind}: the compiler refuses programs on the chips of one host ({why}); take v5p, or a slice of"
            " one host"
        ) from error


def decode_mesh(*, tensor: int = 1, devices: list[Any] | None = None) -> Mesh:
    """A ("data", "tensor") mesh over this process's devices.

    Raises:
        InputError: the number of devices is not a multiple of `tensor`.
    """
    devices = sorted(jax.local_devices() if devices is None else devices, key=lambda d: d.id)  # as in `spread`
    if tensor < 1 or len(devices) % tensor:
        raise InputError(f"tensor must divide the {len(devices)} devices of a process; got {tensor}")
    return Mesh(np.array(devices).reshape(-1, tensor), ("data", "tensor"), axis_types=(AxisType.Auto,) * 2)


@partial(jax.jit, static_argnames=("config", "dtype", "scale"))
def per_layer(params: Params, *, config: Qwen3Config, dtype: str, scale: float = 0.0) -> DecodeParams:
    """The tree of `DecodeParams`: matrices in `dtype`, norm scales untouched; adapters, times `scale`, are merged."""

    def cast(name: str, x: jax.Array) -> jax.Array:
        return x if "norm" in name else x.astype(dtype)

    def layer(i: int) -> Params:
        whole = lora.merged(scale, {n: w[i] for n, w in params["layers"].items()})
        return {n: cast(n, w) for n, w in whole.items()}

    layers = tuple(map(layer, range(config.layers)))
    ends = {name: cast(name, params[name]) for name in ("embed_VD", "final_norm_D")}
    head = {} if config.tied else {"head_VD": params["head_DV"].T.astype(dtype)}
    return {"layers": layers, **ends, **head}


def shardings(config: Qwen3Config, layout: DecodeSharding) -> Any:
    """The sharding of every array of `DecodeParams`, from the letters of its name."""

    def of(name: str, shape: tuple[int, ...], *, drop: str = "") -> NamedSharding | None:
        return layout.sharding(*(a for a in name.rsplit("_", 1)[1] if a not in drop), shape=shape)

    shapes = param_shapes(config)
    layer = {name: of(name, shape[1:], drop="L") for name, shape in shapes["layers"].items()}
    ends = {name: of(name, shapes[name]) for name in ("embed_VD", "final_norm_D")}
    head = {} if config.tied else {"head_VD": of("head_VD", shapes["embed_VD"])}
    return {"layers": (layer,) * config.layers, **ends, **head}


def logits(params: DecodeParams, hidden_BD: jax.Array) -> jax.Array:
    """Vocabulary logits, float32 with float32 accumulation; the embedding is the head where they are tied."""
    head_VD = params["head_VD"] if "head_VD" in params else params["embed_VD"]
    return jnp.einsum("bd,vd->bv", hidden_BD, head_VD, preferred_element_type=jnp.float32)


def decode_params(
    params: Params, *, config: Qwen3Config, dtype: str, mesh: Mesh | None = None, scale: float = 0.0
) -> DecodeParams:
    """Weights for decoding, cast in place and then moved; call once per update of the weights.

    `params` may be on a training mesh over all processes. Each process gets a whole copy on its own `mesh`.
    """
    made = per_layer(params, config=config, dtype=dtype, scale=scale)
    if mesh is None:
        return made
    everywhere = spread(mesh)
    made = _moved(made, shardings(config, DecodeSharding(everywhere)), everywhere)
    return made if everywhere is mesh else jax.tree.map(lambda x: local(x, mesh), made)


def _moved(params: DecodeParams, target: Any, mesh: Mesh) -> DecodeParams:
    """Weights in other shardings, exchanged between devices layer by layer; nothing passes through the host.

    Each exchange is waited for: of several at a time, two processes may run different ones, and wait for each other
    for ever. Layers are alike, so there are two programs. `jax.device_put` would be a program per array, and where the
    meshes of one process differ in their axes only it would read each array back to the host.
    """
    sharding = jax.tree.leaves(params)[0].sharding
    now = sharding.mesh if isinstance(sharding, NamedSharding) else None
    one_order = isinstance(now, Mesh) and [*now.devices.flat] == [*mesh.devices.flat]

    def move(part: Any, places: Any) -> Any:
        if one_order:
            leaves, treedef = jax.tree.flatten(part)
            moved = _exchange(tuple(jax.tree.leaves(places)))(leaves)
            return jax.block_until_ready(jax.tree.unflatten(treedef, moved))
        return jax.tree.map(lambda x, place: jax.block_until_ready(jax.device_put(x, place)), part, places)

    layers = tuple(move(*pair) for pair in zip(params["layers"], target["layers"], strict=True))
    ends = [{name: x for name, x in tree.items() if name != "layers"} for tree in (params, target)]
    return {"layers": layers, **move(*ends)}


@cache
def _exchange(target: tuple[NamedSharding, ...]) -> Callable[[list[jax.Array]], list[jax.Array]]:
    """The program that moves arrays into these shardings; kept, so that it is compiled once."""
    return jax.jit(lambda arrays: arrays, out_shardings=list(target))


def spread(mesh: Mesh) -> Mesh:
    """The mesh of this process continued over all processes: the same tensor groups, more of them."""
    if jax.process_count() == 1:
        return mesh
    tensor = mesh.shape["tensor"]
    by_process = sorted(jax.devices(), key=lambda d: (d.process_index, d.id))
    return Mesh(np.array(by_process).reshape(-1, tensor), ("data", "tensor"), axis_types=(AxisType.Auto,) * 2)


def local(x: jax.Array, mesh: Mesh) -> jax.Array:
    """This process's copy of an array that is whole in every process; moves nothing."""
    assert isinstance(x.sharding, NamedSharding)
    sharding = NamedSharding(mesh, x.sharding.spec)
    shards = {s.device: s.data for s in x.addressable_shards}
    devices = sharding.addressable_devices_indices_map(x.shape)
    return jax.make_array_from_single_device_arrays(x.shape, sharding, [shards[d] for d in devices])

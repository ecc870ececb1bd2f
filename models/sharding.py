"""One table from array axes to mesh axes, and everything that follows from it: meshes, parameters, activations.

A parameter's name ends in its axes (`q_LDNH`), so its sharding is read off its name. The mesh has three axes:
`data` (whole copies), `fsdp` (parameters split, gathered layer by layer), `tensor` (heads, mlp, vocabulary split).
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from models.errors import InputError
from models.qwen3 import Qwen3Config, cast, param_shapes
from models.scan import ShardingHooks

Array = jax.Array
PyTree = Any
AXES = ("data", "fsdp", "tensor")
ROWS = ("data", "fsdp")
Rules = Mapping[str, str | None]

# Axis letter (hsd_jax/types.py) -> mesh axis. V is on `tensor`, not on `fsdp`: D is there in the same table, and
# 151936 = 64 * 2374 does not divide by 256, whereas every D does. The loss re-splits the head over V by itself.
RULES: Rules = {
    "V": "tensor",
    "D": "fsdp",
    "N": "tensor",
    "K": "tensor",
    "F": "tensor",
    "H": None,
    "L": None,
    "A": None,
}


def make_mesh(data: int, fsdp: int, tensor: int, devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh over all devices (or the given ones), neighbors on the interconnect adjacent; one size may be -1.

    With several slices `data` goes over these, so that only sums cross the slower network between them.
    Raises: InputError when the sizes do not multiply to the number of devices, or `data` does not divide by slices.
    """
    devices = jax.devices() if devices is None else list(devices)
    sizes = dict(zip(AXES, (data, fsdp, tensor), strict=True))
    known = math.prod(n for n in sizes.values() if n != -1)
    if list(sizes.values()).count(-1) == 1 and known > 0 and len(devices) % known == 0:
        sizes = {axis: len(devices) // known if n == -1 else n for axis, n in sizes.items()}
    if min(sizes.values()) < 1 or math.prod(sizes.values()) != len(devices):
        shown = " x ".join(f"{axis}={n}" for axis, n in sizes.items())
        raise InputError(
            f"mesh {shown} does not cover the {len(devices)} devices; the sizes must be positive and multiply to "
            f"{len(devices)} (one may be -1: the rest)"
        )
    return Mesh(_grid(tuple(sizes.values()), devices), AXES, axis_types=(AxisType.Auto,) * len(AXES))


def _grid(sizes: tuple[int, ...], devices: list[Any]) -> Any:
    """The devices as an array of these sizes, slices along the first axis."""
    slices = len({getattr(device, "slice_index", 0) for device in devices})
    if slices == 1:
        return mesh_utils.create_device_mesh(sizes, devices, allow_split_physical_axes=True)
    data, *rest = sizes
    if data % slices:
        raise InputError(
            f"mesh.data is {data}, but must be a multiple of the number of slices ({slices}): each holds a whole copy"
            f" of the parameters, as the network between slices is slow; set --mesh.data {slices}"
        )
    inside, across = (data // slices, *rest), (slices, *[1] * len(rest))
    return mesh_utils.create_hybrid_device_mesh(inside, across, devices, allow_split_physical_axes=True)


def spec_of(name: str, rules: Rules = RULES) -> P:
    """The partition of an array by the axis letters at the end of its name: `q_LDNH` -> (None, fsdp, tensor, None)."""
    return P(*(rules[letter] for letter in name.rsplit("_", 1)[1]))


def param_shardings(config: Qwen3Config, mesh: Mesh, rules: Rules = RULES) -> PyTree:
    """A NamedSharding for every parameter.

    Raises: InputError naming each parameter, its shape and the axis that does not divide or is used twice.
    """
    problems: list[str] = []

    def leaf(path: Any, shape: tuple[int, ...]) -> NamedSharding:
        name = path[-1].key
        conflicts = _conflicts(name, shape, mesh, rules)
        problems.extend(conflicts)
        return NamedSharding(mesh, P() if conflicts else spec_of(name, rules))  # P(): only until they are raised

    shapes = param_shapes(config)
    shardings = jax.tree.map_with_path(leaf, shapes, is_leaf=lambda x: isinstance(x, tuple))
    if problems:
        raise InputError("sharding: " + "; ".join(problems))
    return shardings


def abstract_params(config: Qwen3Config, mesh: Mesh, dtype: Any, rules: Rules = RULES) -> PyTree:
    """Shapes, dtype and shardings of the parameters without the parameters: for compiling ahead of time.

    Raises: InputError as `param_shardings` does.
    """
    param_shardings(config, mesh, rules)
    return abstract(param_shapes(config), mesh, dtype, rules)


def abstract(shapes: PyTree, mesh: Mesh, dtype: Any, rules: Rules = RULES) -> PyTree:
    """Arrays by name and shape, without the arrays, each where its letters say."""

    def leaf(path: Any, shape: tuple[int, ...]) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, spec_of(path[-1].key, rules)))

    return jax.tree.map_with_path(leaf, shapes, is_leaf=lambda x: isinstance(x, tuple))


def _conflicts(name: str, shape: tuple[int, ...], mesh: Mesh, rules: Rules) -> list[str]:
    """Why a parameter cannot be laid out on the mesh, in words."""
    problems, taken = [], {}
    letters = name.rsplit("_", 1)[1]
    what = f"{name} {list(shape)}"
    for letter, size in zip(letters, shape, strict=True):
        axis = rules[letter]
        if axis is None:
            continue
        if axis not in mesh.shape:
            problems.append(f"{what}: axis {letter} is mapped to {axis!r}, the mesh has {mesh.axis_names}")
        elif axis in taken:
            problems.append(f"{what}: axes {taken[axis]} and {letter} are both mapped to mesh axis {axis!r}")
        elif size % mesh.shape[axis]:
            problems.append(f"{what}: axis {letter} = {size} is not divisible by mesh axis {axis} = {mesh.shape[axis]}")
        taken[axis] = letter
    return problems


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Rows (the leading axis) over data and fsdp."""
    return NamedSharding(mesh, P(ROWS))


def batch_places(mesh: Mesh, count: int) -> np.ndarray:
    """Where the `count` problems of a batch lie in arrays over the mesh: those of process 0, then those of 1, ...

    On TPU slices the rows of a host are not side by side, so a problem's place depends on the slice; what depends on
    the batch alone asks this first.
    """
    owner_B = [row[0].process_index for row in mesh.devices.reshape(-1, mesh.shape["tensor"])]
    rows_B, each = np.argsort(owner_B, kind="stable"), count // len(owner_B)
    return (rows_B[:, None] * each + np.arange(each)).reshape(-1).astype(np.int32)


def replicated(mesh: Mesh) -> NamedSharding:
    """The whole array on every device."""
    return NamedSharding(mesh, P())


def placement(config: Qwen3Config, mesh: Mesh, dtype: Any, rules: Rules = RULES) -> ShardingHooks:
    """Sharded training and scoring: rows stay split, each layer's weights are gathered over fsdp in `dtype`.

    The cast comes before the gather (half the bytes in bfloat16); gradients leave split again, so that their sum over
    chips can be a reduce-scatter. Leaves that are not parameters of a layer (caches) pass through.
    """
    rows = batch_sharding(mesh)
    names = set(param_shapes(config)["layers"])

    def weight(path: Any, leaf: Array) -> Array:
        name = str(getattr(path[-1], "key", ""))
        if name not in names:
            return leaf
        split = P(*spec_of(name, rules)[1:])  # the scan has taken the L axis
        whole = P(*(None if axis == "fsdp" else axis for axis in split))
        return _gather(cast({name: leaf}, dtype)[name], NamedSharding(mesh, split), NamedSharding(mesh, whole))

    return ShardingHooks(
        lookup=partial(_lookup, mesh),
        batch=lambda x: jax.lax.with_sharding_constraint(x, rows),
        weights=lambda tree: jax.tree.map_with_path(weight, tree),
    )


def _lookup(mesh: Mesh, table_VD: Array, tokens: Array, dtype: Any) -> Array:
    """Embeddings of row-split tokens from a table split over V and D, without gathering the table.

    Each device looks up its columns for all rows of its fsdp group; an all-to-all turns columns into rows. Left to
    itself the partitioner would hold every row of the batch on every device.
    """

    def local(table_vd: Array, tokens: Array) -> Array:
        tokens = jax.lax.all_gather(tokens, "fsdp", axis=0, tiled=True)
        mine = tokens - jax.lax.axis_index("tensor") * table_vd.shape[0]
        held = (mine >= 0) & (mine < table_vd.shape[0])
        columns = jnp.where(held[..., None], table_vd[jnp.where(held, mine, 0)].astype(dtype), 0)
        columns = jax.lax.psum(columns, "tensor")
        return jax.lax.all_to_all(columns, "fsdp", split_axis=0, concat_axis=columns.ndim - 1, tiled=True)

    specs = (P("tensor", "fsdp"), P(ROWS))
    return jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=P(ROWS), check_vma=False)(table_VD, tokens)


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _gather(x: Array, split: NamedSharding, whole: NamedSharding) -> Array:
    """x, made whole; its gradient is split."""
    return jax.lax.with_sharding_constraint(jax.lax.with_sharding_constraint(x, split), whole)


def _gather_forward(x: Array, split: NamedSharding, whole: NamedSharding) -> tuple[Array, None]:
    return _gather(x, split, whole), None


def _gather_backward(split: NamedSharding, whole: NamedSharding, _: None, gradient: Array) -> tuple[Array]:
    return (jax.lax.with_sharding_constraint(gradient, split),)


_gather.defvjp(_gather_forward, _gather_backward)

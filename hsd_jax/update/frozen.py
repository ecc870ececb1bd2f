"""Copies of weights that never change: a checkpoint names them by source and hash instead of holding them.

The weights that a run began with come from `model.path` again when it is continued, and the hash says whether they are
the same, to the bit.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hsd_jax.errors import InputError
from hsd_jax.types import Array
from models.qwen3 import Params

FROZEN = ("initial",)
MULTIPLIERS = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D)


def frozen_copies(state: Any) -> dict[str, Params]:
    """The copies of a state that no update changes."""
    copies = getattr(state, "copies", {})
    return {name: copies[name] for name in FROZEN if name in copies}


def without_frozen(state: Any) -> Any:
    """What a checkpoint holds of a state."""
    if not frozen_copies(state):
        return state
    return dataclasses.replace(state, copies={name: c for name, c in state.copies.items() if name not in FROZEN})


def with_frozen(state: Any, copies: dict[str, Params]) -> Any:
    """The whole state again."""
    return dataclasses.replace(state, copies=state.copies | copies) if copies else state


def hashes(state: Any) -> dict[str, str]:
    """The hash of every frozen copy, the same on any number of devices and hosts."""
    return {name: hash_of(copy) for name, copy in frozen_copies(state).items()}


def check_resume(held: dict[str, list[str]], hashes: dict[str, str]) -> None:
    """Refuses to go on with other weights than a run began with; `held` is name -> [source, hash] of a checkpoint.

    Raises: InputError naming the source.
    """
    for name, (source, wanted) in held.items():
        if hashes.get(name) != wanted:
            raise InputError(
                f"model.path: its weights (hash {hashes.get(name)}) are not those of {source} that the run began with"
                f" (hash {wanted}), from which its frozen copy {name!r} comes; bring them back, or start anew with"
                " --overwrite"
            )


def hash_of(params: Params) -> str:
    """64 bits of a tree of weights; every bit of a weight, and its place, moves about half of them."""
    names = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    with jax.transfer_guard("allow"):
        sums = np.asarray(jax.device_get(_sums(params)))
    total = [0, 0]
    for name, pair in zip(names, sums, strict=True):
        salt = int.from_bytes(name.encode(), "little") % ((1 << 61) - 1)
        total = [(t * 31 + int(s) + salt) % (1 << 32) for t, s in zip(total, pair, strict=True)]
    return f"{total[0]:08x}{total[1]:08x}"


@jax.jit
def _sums(params: Params) -> Array:
    leaves = jax.tree.leaves(params)
    return jnp.stack([jnp.stack([_sum(leaf, seed) for seed in (1, 2)]) for leaf in leaves])


def _sum(x: Array, seed: int) -> Array:
    """A sum, modulo 2^32, of every element's bits mixed with its place: exact, so in any order."""
    bits = jax.lax.bitcast_convert_type(x, jnp.uint16 if x.dtype.itemsize == 2 else jnp.uint32).astype(jnp.uint32)
    mixed = bits + jnp.uint32(seed)
    for axis in range(x.ndim):
        place = jax.lax.broadcasted_iota(jnp.uint32, x.shape, axis)
        mixed = _mix(mixed + place * jnp.uint32(MULTIPLIERS[axis % 3] | 1))
    return jnp.sum(_mix(mixed), dtype=jnp.uint32)


def _mix(x: Array) -> Array:
    """The finalizer of MurmurHash3."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)

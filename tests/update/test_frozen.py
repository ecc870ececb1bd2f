"""Copies that never change: their hash knows every bit and place, and no sharding; a checkpoint leaves them out."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from hsd_jax.errors import InputError
from hsd_jax.update import frozen
from hsd_jax.update.state import TrainState
from models.sharding import make_mesh


def weights(seed: int = 0, dtype: Any = jnp.bfloat16) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    make = lambda *shape: jnp.asarray(rng.standard_normal(shape), dtype)  # noqa: E731
    return {"embed_VD": make(8, 4), "layers": {"gate_LDF": make(2, 4, 8), "norm_LD": make(2, 4)}}


def state(copies: dict[str, Any]) -> TrainState:
    return TrainState({"w": jnp.ones(3)}, {}, copies, {}, jnp.int32(4))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_the_hash_knows_every_bit_and_every_place(dtype: Any) -> None:
    base = weights(dtype=dtype)
    seen = {frozen.hash_of(base)}
    for name in ("embed_VD", "layers"):
        leaf = base[name] if name == "embed_VD" else base["layers"]["gate_LDF"]
        last = (-1,) * leaf.ndim
        for changed in (leaf.at[last].multiply(-1), jnp.flip(leaf, 0), jnp.swapaxes(leaf, -1, -2).reshape(leaf.shape)):
            tree = base | ({name: changed} if name == "embed_VD" else {name: base["layers"] | {"gate_LDF": changed}})
            seen.add(frozen.hash_of(tree))
    renamed = {
        "embed_VD": base["embed_VD"],
        "layers": {"up_LDF": base["layers"]["gate_LDF"], "z": base["layers"]["norm_LD"]},
    }
    seen.add(frozen.hash_of(renamed))
    assert len(seen) == 8


def test_the_hash_does_not_depend_on_where_the_weights_lie() -> None:
    base = weights()
    mesh = make_mesh(1, 2, 1, jax.devices()[:2])
    placed = jax.device_put(base, NamedSharding(mesh, PartitionSpec("fsdp")))
    assert frozen.hash_of(placed) == frozen.hash_of(base)


def test_a_checkpoint_holds_what_changes_and_the_rest_comes_back() -> None:
    whole = state({"initial": weights(), "teacher": weights(1)})
    held = frozen.without_frozen(whole)
    assert set(held.copies) == {"teacher"}
    again = frozen.with_frozen(held, frozen.frozen_copies(whole))
    jax.tree.map(np.testing.assert_array_equal, again, whole)
    assert frozen.without_frozen(state({})).copies == {} and frozen.with_frozen(held, {}) is held


def test_other_weights_are_refused_by_name() -> None:
    begun, now = (frozen.hashes(state({"initial": weights(seed)})) for seed in (0, 1))
    held = {"initial": ["weights/base", begun["initial"]]}
    frozen.check_resume(held, begun)
    with pytest.raises(InputError, match=r"model.path: its weights .* are not those of weights/base"):
        frozen.check_resume(held, now)

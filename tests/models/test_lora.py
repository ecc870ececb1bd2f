"""Adapters: what they add, what is refused, where they lie on a mesh, and what `peft` finds in their files."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from models import hf_layout, lora, sharding
from models.errors import InputError
from models.lora import PROJECTIONS, Lora
from models.qwen3 import Params, forward, param_shapes
from models.scan import Compute
from tests.support.tiny_config import QWEN3_8B, tiny_config

CONFIG = tiny_config(tied=False)
LORA = Lora(rank=3, alpha=6.0, targets=tuple(PROJECTIONS))
TOKENS_BS = jnp.asarray(np.random.default_rng(0).integers(1, 60, (4, 9)))


def adapters(of: Lora = LORA) -> Params:
    """Random adapters, those that begin at zero too."""
    rng = np.random.default_rng(3)
    shapes = lora.shapes(of, CONFIG)["layers"]
    return {"layers": {name: jnp.asarray(0.3 * rng.standard_normal(s), jnp.float32) for name, s in shapes.items()}}


def beside(params: Params, adapted: Params) -> Params:
    return {**params, "layers": params["layers"] | adapted["layers"]}


@pytest.fixture(scope="module")
def base() -> Params:
    rng = np.random.default_rng(0)
    is_shape = lambda x: isinstance(x, tuple)  # noqa: E731
    return jax.tree.map(
        lambda s: jnp.asarray(rng.standard_normal(s), jnp.float32), param_shapes(CONFIG), is_leaf=is_shape
    )


def test_every_projection_is_known() -> None:
    assert set(PROJECTIONS) == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    shapes = lora.shapes(replace(LORA, rank=16), QWEN3_8B)["layers"]
    assert shapes["o_in_LNHA"] == (36, 32, 128, 16) and shapes["o_out_LAD"] == (36, 16, 4096)
    assert sum(np.prod(shape) for shape in shapes.values()) == 43_646_976


def test_fresh_adapters_change_nothing(base: Params) -> None:
    fresh = lora.init(LORA, CONFIG, jax.random.key(1))
    jax.tree.map(np.testing.assert_array_equal, jax.jit(lora.merged_model)(LORA.scale, beside(base, fresh)), base)
    widest = float(jnp.abs(fresh["layers"]["down_in_LFA"]).max())
    assert 0.9 < widest * CONFIG.mlp_width**0.5 <= 1
    assert not np.array_equal(fresh["layers"]["gate_in_LDA"], fresh["layers"]["up_in_LDA"])


def test_what_is_added_is_the_formula(base: Params) -> None:
    """Each layer by itself, in NumPy and in the axes of the files: W + alpha / rank B A."""
    some = adapters()
    merged = jax.jit(lora.merged_model)(LORA.scale, beside(base, some))
    for entry in PROJECTIONS.values():
        into, out = lora.pair(entry)
        for layer in range(CONFIG.layers):
            w, a, b, seen = (
                hf_layout.to_file(e, np.asarray(tree["layers"][e.ours][layer], np.float64))
                for e, tree in [(entry, base), (into, some), (out, some), (entry, merged)]
            )
            np.testing.assert_allclose(seen, w + 6.0 / 3 * b @ a, atol=1e-6)
    assert {name for name in base["layers"] if name not in merged["layers"]} == set()
    assert jax.tree.structure(merged) == jax.tree.structure(base)


def test_on_a_mesh_states_and_gradients_are_those_of_the_merged_model(base: Params) -> None:
    """Adapters lie by their letters: two devices share the width, two the heads."""
    of = replace(LORA, targets=("q_proj", "o_proj", "down_proj"))
    mesh, some, valid_BS = sharding.make_mesh(1, 2, 2, jax.devices()[:4]), adapters(of), jnp.ones((4, 9), bool)
    probe_BSD = jax.random.normal(jax.random.key(7), (4, 9, CONFIG.width))

    def value(params: Params, tokens_BS: jax.Array, how: Compute) -> jax.Array:
        return jnp.mean(probe_BSD * forward(CONFIG, params, tokens_BS, valid_BS, how=how))

    def merged(adapted: Params, base: Params, tokens_BS: jax.Array) -> jax.Array:
        return value(lora.merged_model(of.scale, beside(base, adapted)), tokens_BS, Compute())

    def split(adapted: Params, base: Params, tokens_BS: jax.Array) -> jax.Array:
        places = lora.merging(of.scale, sharding.placement(CONFIG, mesh, jnp.float32))
        return value(beside(base, adapted), tokens_BS, Compute(remat="full", placement=places))

    def there(path: Any, x: jax.Array) -> jax.Array:
        return jax.device_put(x, jax.NamedSharding(mesh, sharding.spec_of(path[-1].key)))

    wanted = jax.jit(jax.value_and_grad(merged))(some, base, TOKENS_BS)
    placed = jax.tree.map_with_path(there, (some, base))
    seen = jax.jit(jax.value_and_grad(split))(*placed, jax.device_put(TOKENS_BS, sharding.batch_sharding(mesh)))
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), seen, wanted)
    assert all(float(jnp.abs(x).max()) > 1e-4 for x in jax.tree.leaves(wanted)), "every matrix counts"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": ("q_proj", "query")}, "no projection 'query'; there are q_proj, k_proj"),
        ({"targets": ("embed_tokens",)}, "no projection 'embed_tokens'"),
        ({"targets": ()}, "lora.targets must name projections"),
        ({"targets": ("q_proj", "q_proj")}, "each once; got 'q_proj,q_proj'"),
        ({"rank": 0}, "lora.rank must be from 1 to 16"),
        ({"rank": -1}, "lora.rank must be from 1 to 16"),
        ({"rank": 17}, "lora.rank must be from 1 to 16, the smaller side of .*_proj .*; got 17"),
        ({"alpha": 0.0}, "lora.alpha must be a finite number above 0"),
        ({"alpha": float("nan")}, "lora.alpha must be a finite number above 0; got nan"),
    ],
)
def test_refusals(changes: dict[str, object], message: str) -> None:
    lora.check(LORA, CONFIG)
    with pytest.raises(InputError, match=message):
        lora.check(replace(LORA, **changes), CONFIG)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_files_have_the_names_and_shapes_of_peft(tmp_path: Path, dtype: str) -> None:
    of = replace(LORA, targets=("o_proj", "up_proj"))
    lora.save(of, adapters(of), tmp_path, base="weights/base", dtype=dtype)
    said = json.loads((tmp_path / "adapter_config.json").read_text())
    assert said["peft_type"] == "LORA" and said["r"] == 3 and said["lora_alpha"] == 6.0
    assert said["target_modules"] == ["o_proj", "up_proj"] and said["base_model_name_or_path"] == "weights/base"
    held = load_file(tmp_path / "adapter_model.safetensors")
    heads, width, mlp = CONFIG.heads * CONFIG.head_dim, CONFIG.width, CONFIG.mlp_width
    wanted = {
        "self_attn.o_proj.lora_A": (3, heads),
        "self_attn.o_proj.lora_B": (width, 3),
        "mlp.up_proj.lora_A": (3, width),
        "mlp.up_proj.lora_B": (mlp, 3),
    }
    found = {name: value.shape for name, value in held.items()}
    named = {
        f"base_model.model.model.layers.{i}.{n}.weight": s for i in range(CONFIG.layers) for n, s in wanted.items()
    }
    assert found == named and {value.dtype.name for value in held.values()} == {dtype}

"""A run that trains adapters: it resumes to the bit, keeps the adapters alone, and leaves in either of two forms."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from hsd_jax import export
from hsd_jax.config import Config, Lora
from hsd_jax.errors import InputError
from hsd_jax.evaluation.model import read_model
from hsd_jax.runtime import checkpoint
from hsd_jax.setup import trained, validation
from models import hf, lora
from models.lora import PROJECTIONS
from models.qwen3 import Qwen3Config, params_of
from tests.support.paths import TINY_MODEL
from tests.support.same_run import assert_same, state_at
from tests.support.train_process import TINY, finish, kill, reach, start

TARGETS = ("q_proj", "o_proj", "down_proj")
SETTINGS = ["--lora.rank", "2", "--lora.alpha", "8", "--lora.targets", ",".join(TARGETS)]
COMMAND = [*TINY, *SETTINGS, "--optimizer.learning-rate", "0.01", "--evaluation.every", "0", "--steps", "4"]


@pytest.fixture(scope="module")
def whole(variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nobody kills."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    said = finish(start(variables, workdir, *COMMAND))
    assert "adapters of rank 2 on q_proj, o_proj, down_proj train, all else is frozen" in said
    return workdir


@pytest.fixture(scope="module")
def base() -> Any:
    return jax.device_get(params_of(hf.load(TINY_MODEL)))


def test_a_run_of_adapters_killed_and_resumed_is_the_run_that_nobody_killed(
    whole: Path, variables: dict[str, str], tmp_path: Path
) -> None:
    run = start(variables, tmp_path / "run", *COMMAND)
    reach(run, 4, "update")
    kill(run)
    assert "continuing after step 2" in finish(start(variables, tmp_path / "run", *COMMAND, "--resume", "auto"))
    assert_same(tmp_path / "run", whole)


def test_a_checkpoint_holds_adapters_and_their_optimizer_alone(whole: Path) -> None:
    state = state_at(whole, 4)
    shapes = lora.shapes(lora.Lora(2, 8.0, TARGETS), Qwen3Config.from_hf(TINY_MODEL))["layers"]
    assert {name: x.shape for name, x in state["params"]["layers"].items()} == shapes
    assert set(state["params"]) == {"layers"} and state["copies"] in (None, {})
    count = sum(int(np.prod(shape)) for shape in shapes.values())
    assert sum(np.size(x) for x in jax.tree.leaves(state["opt_state"])) <= 2 * count + 4
    assert all(np.abs(x).max() > 0 for x in state["params"]["layers"].values()), "each has trained"
    meta = checkpoint.restore_meta(whole / "checkpoints", 4)
    assert meta["frozen"]["initial"][0].endswith("assets/tiny_qwen3")


def test_the_model_that_is_exported_is_the_base_with_what_the_exported_adapters_add(
    whole: Path, base: Any, tmp_path: Path
) -> None:
    """Both by the files alone: W + alpha / r B A, in the names and shapes that `peft` gives them."""
    command = ["--checkpoint", str(whole)]
    assert export.main([*command, "--out", str(tmp_path / "model")]) == 0
    assert export.main([*command, "--out", str(tmp_path / "adapters"), "--form", "peft"]) == 0
    said = json.loads((tmp_path / "adapters" / "adapter_config.json").read_text())
    held = load_file(tmp_path / "adapters" / "adapter_model.safetensors")
    merged = load_file(tmp_path / "model" / "model.safetensors")
    before = load_file(TINY_MODEL / "model.safetensors")
    assert set(merged) == set(before) and (tmp_path / "model" / "tokenizer.json").exists()
    assert said["target_modules"] == list(TARGETS) and Path(said["base_model_name_or_path"]) == TINY_MODEL
    changed = {name for name in merged if not np.array_equal(merged[name], before[name])}
    assert {name.split(".")[-2] for name in changed} == set(TARGETS)
    for name in changed:
        a, b = (held[f"base_model.model.{name.removesuffix('weight')}lora_{m}.weight"] for m in "AB")
        np.testing.assert_allclose(merged[name], before[name] + said["lora_alpha"] / said["r"] * b @ a, atol=1e-6)
    assert len(held) == 2 * len(changed)


def test_evaluation_reads_the_merged_model(whole: Path, base: Any) -> None:
    config, params, source = read_model(str(whole))
    assert source == str(TINY_MODEL) and jax.tree.structure(params) == jax.tree.structure(base)
    entry = PROJECTIONS["o_proj"]
    into, out = (trained.read(whole).params["layers"][matrix.ours] for matrix in lora.pair(entry))
    added = 4.0 * np.einsum("lnha,lad->lnhd", into, out)
    np.testing.assert_allclose(params["layers"][entry.ours], base["layers"][entry.ours] + added, atol=1e-6)
    np.testing.assert_array_equal(params["embed_VD"], base["embed_VD"])


def test_other_weights_under_the_adapters_are_refused(whole: Path, tmp_path: Path) -> None:
    """A checkpoint of adapters means nothing without the weights that the run began with."""
    held = trained.read(whole)
    other = shutil.copytree(TINY_MODEL, tmp_path / "other")
    weights = load_file(other / "model.safetensors")
    weights["model.norm.weight"] = weights["model.norm.weight"] * 1.5
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="are not those of .*tiny_qwen3 that the run began with"):
        trained.whole(dataclasses.replace(held, source=str(other)))


def test_the_adapters_of_a_run_without_any_are_refused(tmp_path: Path) -> None:
    config = Qwen3Config.from_hf(TINY_MODEL)
    store = checkpoint.open_store(tmp_path / "checkpoints")
    meta = {"model": vars(config), "config": {"model": {"path": str(TINY_MODEL)}}}
    checkpoint.save(store, 1, {"params": jax.tree.map(jnp.asarray, params_of(hf.load(TINY_MODEL)))}, meta)
    checkpoint.close(store)
    with pytest.raises(InputError, match="--form peft: all weights of .* have trained; take --form model"):
        export.main(["--checkpoint", str(tmp_path), "--out", str(tmp_path / "out"), "--form", "peft"])
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob("*.part"))


def test_settings_that_nothing_reads_are_refused() -> None:
    model = Qwen3Config.from_hf(TINY_MODEL)
    assert validation.adapters_of(Config(), model) == lora.NONE
    assert validation.adapters_of(Config(lora=Lora(rank=4)), model).targets == tuple(PROJECTIONS)
    for settings in (Lora(alpha=16.0), Lora(targets="q_proj")):
        with pytest.raises(InputError, match="lora.rank is 0, so all weights train"):
            validation.adapters_of(Config(lora=settings), model)
    with pytest.raises(InputError, match="no projection 'x_proj'"):
        validation.adapters_of(Config(lora=Lora(rank=4, targets="q_proj,x_proj")), model)

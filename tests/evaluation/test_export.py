"""`python -m hsd_jax.export`: a checkpoint becomes a Hugging Face directory, or a refusal of one line."""

from dataclasses import asdict
from pathlib import Path

import jax
import numpy as np
import pytest

from hsd_jax import export
from hsd_jax.errors import InputError
from hsd_jax.runtime import checkpoint
from models import hf
from models.qwen3 import params_of
from models.sharding import make_mesh
from tests.support.random_qwen3 import hf_config, hf_weights, write_hf


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workdir with one checkpoint, written from a mesh of eight devices."""
    root = tmp_path_factory.mktemp("run")
    config = hf_config(vocab_size=96)
    source = write_hf(root / "model", config, hf_weights(config))
    (source / "tokenizer.json").write_text('{"tokenizer": 1}')
    model = hf.load(source, mesh=make_mesh(2, 2, 2))
    store = checkpoint.open_store(root / "checkpoints")
    trained = jax.tree.map(lambda x: x * 2, params_of(model))
    meta = {"step": 7, "model": asdict(model.config), "config": {"model": {"path": str(source)}}}
    checkpoint.save(store, 7, {"params": trained}, meta)
    checkpoint.close(store)
    return root


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_export_holds_the_trained_weights_and_the_tokenizer(workdir: Path, tmp_path: Path, dtype: str):
    out = tmp_path / "out"
    assert export.main(["--checkpoint", str(workdir), "--out", str(out), "--dtype", dtype]) == 0
    before = params_of(hf.load(workdir / "model"))
    after = params_of(hf.load(out, dtype=dtype))
    wanted = jax.tree.map(lambda x: np.asarray(x * 2).astype(dtype), before)
    jax.tree.map(np.testing.assert_array_equal, wanted, after)
    assert (out / "tokenizer.json").read_text() == '{"tokenizer": 1}'
    assert not list(tmp_path.glob("*.part"))


def test_refusals(workdir: Path, tmp_path: Path):
    with pytest.raises(InputError, match="no finished checkpoint here"):
        export.main(["--checkpoint", str(tmp_path), "--out", str(tmp_path / "out")])
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/file").write_text("")
    with pytest.raises(InputError, match="already holds something"):
        export.main(["--checkpoint", str(workdir), "--out", str(tmp_path / "taken")])
    assert not (tmp_path / "out").exists()

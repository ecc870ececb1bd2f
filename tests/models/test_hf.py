"""Directories: bit-exact both ways, on any mesh, nothing read twice, and every fault named in one line."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from hsd_jax.errors import InputError
from models import hf, tensor_files
from models.hf_write import save_params
from models.qwen3 import params_of
from models.sharding import make_mesh
from tests.support.random_qwen3 import bfloat16, hf_config, hf_weights, write_hf

UP = "model.layers.1.mlp.up_proj.weight"


def stored(directory: Path) -> dict[str, np.ndarray]:
    """Every tensor of a directory, read by the safetensors library."""
    return {k: v for file in sorted(directory.glob("*.safetensors")) for k, v in load_file(file).items()}


def assert_same_bits(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    assert a.keys() == b.keys()
    for name, value in a.items():
        assert value.dtype == b[name].dtype and value.shape == b[name].shape, name
        assert value.tobytes() == b[name].tobytes(), name


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_round_trip_is_bit_exact(tmp_path: Path, tied: bool, dtype: str):
    config = hf_config(tie_word_embeddings=tied, dtype=dtype, eos_token_id=5)
    weights = hf_weights(config) if dtype == "float32" else bfloat16(hf_weights(config))
    source = write_hf(tmp_path / "source", config, weights)
    (source / "tokenizer.json").write_text("{}")
    (source / "notes.txt").write_text("not ours to copy")
    hf.save(hf.load(source, dtype=dtype), tmp_path / "copy")
    assert_same_bits(stored(tmp_path / "copy"), weights)
    written = json.loads((tmp_path / "copy/config.json").read_text())
    assert {name: written[name] for name in config} == config
    assert {f.name for f in (tmp_path / "copy").iterdir()} == {"config.json", "model.safetensors", "tokenizer.json"}


def test_bfloat16_widens_to_float32_exactly(tmp_path: Path):
    config = hf_config(dtype="bfloat16")
    rounded = bfloat16(hf_weights(config))
    hf.save(hf.load(write_hf(tmp_path / "source", config, rounded)), tmp_path / "copy")
    assert_same_bits(stored(tmp_path / "copy"), {name: value.astype(np.float32) for name, value in rounded.items()})
    assert json.loads((tmp_path / "copy/config.json").read_text())["dtype"] == "float32"


def test_sharded_files_with_index(tmp_path: Path):
    config = hf_config()
    weights = hf_weights(config)
    model = hf.load(write_hf(tmp_path / "source", config, weights, files=3))
    for _ in range(2):  # the second time over the first
        save_params(model.config, params_of(model), tmp_path / "copy", source=model.source, max_file_bytes=12_000)
    assert len(list((tmp_path / "copy").glob("model-*.safetensors"))) > 2
    assert_same_bits(stored(tmp_path / "copy"), weights)
    reloaded = params_of(hf.load(tmp_path / "copy"))
    jax.tree.map(np.testing.assert_array_equal, params_of(model), reloaded)
    hf.save(model, tmp_path / "copy")
    assert [f.name for f in (tmp_path / "copy").glob("*safetensors*")] == ["model.safetensors"]


@pytest.mark.parametrize("piece_bytes", [64 << 20, 3000])
@pytest.mark.parametrize("sizes", [(1, 4, 2), (4, 1, 2), (2, 2, 2)])
def test_loading_on_a_mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sizes: tuple, piece_bytes: int):
    """Equal to one device's, sharded as the table says, and no byte of any tensor read twice or left out."""
    config = hf_config(vocab_size=96)
    directory = write_hf(tmp_path, config, hf_weights(config))
    alone = params_of(hf.load(directory))
    touched: dict[str, np.ndarray] = {}
    names = tensor_files.read_header(directory / "model.safetensors")[0]
    read = tensor_files.Tensor.read

    def counted(tensor: tensor_files.Tensor, index: tuple[slice, ...]) -> np.ndarray:
        touched.setdefault(tensor.name, np.zeros(tensor.shape, int))[index] += 1
        return read(tensor, index)

    monkeypatch.setattr(tensor_files.Tensor, "read", counted)
    monkeypatch.setattr(hf, "PIECE_BYTES", piece_bytes)
    mesh = make_mesh(*sizes)
    loaded = params_of(hf.load(directory, mesh=mesh))
    jax.tree.map(np.testing.assert_array_equal, alone, loaded)
    q = loaded["layers"]["q_LDNH"]
    assert q.addressable_shards[0].data.shape == (2, 32 // sizes[1], 4 // sizes[2], 16)
    assert touched.keys() == set(names)
    assert Counter(int(n) for count in touched.values() for n in count.ravel()).keys() == {1}


def test_a_tied_head_stored_a_second_time_is_accepted_when_equal(tmp_path: Path):
    config = hf_config(tie_word_embeddings=True)
    weights = hf_weights(config)
    copy = weights | {"lm_head.weight": weights["model.embed_tokens.weight"].copy()}
    model = hf.load(write_hf(tmp_path / "equal", config, copy))
    assert "head_DV" not in params_of(model)
    copy["lm_head.weight"][50, 3] += 1e-3
    with pytest.raises(InputError, match=r"lm_head.weight differs from .*embed_tokens.*tie_word_embeddings = true"):
        hf.load(write_hf(tmp_path / "other", config, copy))


def without_up(directory: Path, config: dict, weights: dict[str, np.ndarray]) -> None:
    write_hf(directory, config, {name: value for name, value in weights.items() if name != UP})


def truncated(directory: Path, config: dict, weights: dict[str, np.ndarray]) -> None:
    write_hf(directory, config, weights)
    data = (directory / "model.safetensors").read_bytes()
    (directory / "model.safetensors").write_bytes(data[:-100])


def truncated_header(directory: Path, config: dict, weights: dict[str, np.ndarray]) -> None:
    write_hf(directory, config, weights)
    data = (directory / "model.safetensors").read_bytes()
    (directory / "model.safetensors").write_bytes(data[:90])


def file_gone(directory: Path, config: dict, weights: dict[str, np.ndarray]) -> None:
    write_hf(directory, config, weights, files=3)
    (directory / "model-00002-of-00003.safetensors").unlink()


def changed(**tensors: Callable[[np.ndarray], np.ndarray]) -> Callable:
    """A directory in which some tensors (q, up) were replaced."""
    full = {"up": UP, "norm": "model.norm.weight"}

    def make(directory: Path, config: dict, weights: dict[str, np.ndarray]) -> None:
        write_hf(directory, config, weights | {full[k]: change(weights[full[k]]) for k, change in tensors.items()})

    return make


def of_config(**changes: object) -> Callable:
    """A directory whose config.json says something else."""
    return lambda directory, config, weights: write_hf(directory, config | changes, weights)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (without_up, f"missing {UP}"),
        (truncated, "is cut off: model.safetensors has"),
        (truncated_header, "model.safetensors is not a safetensors file, or truncated within its header (90 bytes)"),
        (file_gone, "model-00002-of-00003.safetensors cannot be read (No such file"),
        (changed(up=lambda w: w.astype(np.int32)), f"{UP} has dtype I32, allowed: F32, BF16, F16"),
        (changed(up=lambda w: w.astype(np.float64)), f"{UP} has dtype F64"),
        (changed(up=lambda w: w.astype(np.float16)), f"{UP} has dtype F16, config.json says float32"),
        (changed(up=lambda w: w.T.copy()), f"{UP} has shape [32, 48], config.json asks for [48, 32]"),
        (changed(norm=lambda w: w[:-1].copy()), "model.norm.weight has shape [31], config.json asks for [32]"),
        (of_config(num_hidden_layers=1), "unexpected model.layers.1.input_layernorm.weight [32]"),
        (of_config(num_hidden_layers=3), "missing model.layers.2.input_layernorm.weight"),
        (of_config(tie_word_embeddings=True), "lm_head.weight differs from model.embed_tokens.weight"),
        (of_config(model_type="gemma"), "model_type = 'gemma'"),
    ],
)
def test_faulty_directories_are_refused_in_one_line(make: Callable, named: str, tmp_path: Path):
    make(tmp_path, hf_config(), hf_weights(hf_config()))
    with pytest.raises(InputError) as error:
        hf.load(tmp_path)
    assert named in str(error.value)
    assert "\n" not in str(error.value)


def test_an_untied_model_without_head(tmp_path: Path):
    weights = hf_weights(hf_config(tie_word_embeddings=True))
    with pytest.raises(InputError, match=r"missing lm_head.weight \(config.json says tie_word_embeddings = false\)"):
        hf.load(write_hf(tmp_path, hf_config(), weights))


def test_all_faults_in_one_error(tmp_path: Path):
    weights = hf_weights(hf_config())
    weights["extra.weight"] = weights.pop(UP)
    weights["model.norm.weight"] = weights["model.norm.weight"][:5].copy()
    with pytest.raises(InputError) as error:
        hf.load(write_hf(tmp_path, hf_config(), weights))
    for named in (f"missing {UP}", "unexpected extra.weight [48, 32]", "model.norm.weight has shape [5]"):
        assert named in str(error.value)


def test_other_refusals(tmp_path: Path):
    write_hf(tmp_path, hf_config(), hf_weights(hf_config()))
    with pytest.raises(InputError, match="dtype = 'int8', allowed: float32, bfloat16, float16"):
        hf.load(tmp_path, dtype="int8")
    with pytest.raises(InputError, match="dtype = 'float64', allowed in a model directory"):
        hf.save(hf.load(tmp_path), tmp_path / "copy", dtype="float64")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"neither model.safetensors nor model.safetensors.index.json"):
        hf.load(tmp_path)


def test_saved_directory_loads_in_transformers(tmp_path: Path):
    torch = pytest.importorskip("torch", reason="the model class of transformers needs torch")
    transformers = pytest.importorskip("transformers")
    config = hf_config(rope_theta=5e6, head_dim=20)
    model = hf.load(write_hf(tmp_path / "source", config, hf_weights(config)))
    hf.save(model, tmp_path / "copy")
    theirs, loading = transformers.Qwen3ForCausalLM.from_pretrained(tmp_path / "copy", output_loading_info=True)
    assert not loading["missing_keys"] and not loading["unexpected_keys"]
    assert theirs.config.rope_parameters["rope_theta"] == 5e6 and theirs.config.head_dim == 20
    tokens = np.arange(12)[None] * 7 % 97
    wanted = theirs(torch.tensor(tokens)).logits.detach().numpy()
    np.testing.assert_allclose(np.asarray(model(jnp.asarray(tokens))), wanted, atol=5e-5)

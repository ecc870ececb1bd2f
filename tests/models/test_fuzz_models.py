"""Any config.json, index and safetensors header of strangers: read, or refused in one printable line.

60 inputs each by default; HSD_JAX_FUZZ_EXAMPLES=10000 runs the long campaign.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models import hf, tensor_files
from models.config import Qwen3Config
from models.errors import InputError
from tests.support.random_qwen3 import hf_config, hf_weights, write_hf

EXAMPLES = int(os.environ.get("HSD_JAX_FUZZ_EXAMPLES", "60"))
fuzz = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
texts = st.text(max_size=8) | st.sampled_from(
    ["\x1b[2J", "\ud800", "F32", "default", "qwen3", "1", "../x", "\0", "9" * 9999]
)
numbers = st.sampled_from([0, -1, 1, 2, 32, 10**12, 2**63, 2**64, 10**400, 0.5, 1e300, float("nan"), float("inf")])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def harmed(draw: st.DrawFn, good: Any) -> Any:
    """A JSON value in which up to three entries at any depth were replaced, removed or added."""
    found = json.loads(json.dumps(good))
    for _ in range(draw(st.integers(1, 3))):
        holder = found
        while draw(st.booleans()) and (inner := [v for v in _inner(holder) if isinstance(v, dict | list) and v]):
            holder = draw(st.sampled_from(inner))
        key = draw(st.sampled_from(sorted(holder) if isinstance(holder, dict) else range(len(holder))))
        if draw(st.booleans()) or isinstance(holder, list):
            holder[key] = draw(values)
        elif len(holder) > 1:
            del holder[key]
        else:
            holder[draw(texts)] = draw(values)
    return found


def _inner(holder: Any) -> list[Any]:
    return list(holder.values() if isinstance(holder, dict) else holder)


def read_or_refused(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except InputError as refused:
        assert str(refused).isprintable(), repr(str(refused))
        assert len(str(refused)) < 20_000
        return None


NEW = hf_config(layer_types=["full_attention"] * 2, rope_parameters={"rope_theta": 1e6, "rope_type": "default"})


@fuzz
@given(harmed(NEW) | values)
def test_any_config_is_a_config_or_one_line(tmp_path: Path, raw: Any):
    (tmp_path / "config.json").write_text(json.dumps(raw))
    config = read_or_refused(lambda: Qwen3Config.from_hf(tmp_path))
    if config is not None:
        assert Qwen3Config.from_hf(json.loads(json.dumps(config.to_hf()))) == config
        assert config.layers <= 4096 and config.rope_theta > 1


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    return write_hf(folder, hf_config(), hf_weights(hf_config()), files=2)


@fuzz
@given(data=st.data())
def test_any_header_is_read_or_told_and_nothing_is_loaded_from_a_faulty_one(directory: Path, tmp_path: Path, data: Any):
    good = (directory / "model-00001-of-00002.safetensors").read_bytes()
    length = int.from_bytes(good[:8], "little")
    header = data.draw(harmed(json.loads(good[8 : 8 + length])) | values)
    text = json.dumps(header).encode()
    size = data.draw(st.sampled_from([len(text), len(text), len(text), 0, 2**63, len(text) - 1]))
    body = good[8 + length :][: data.draw(st.sampled_from([None, None, 100]))]
    file = tmp_path / "model.safetensors"
    file.write_bytes(size.to_bytes(8, "little") + text + body)
    found = read_or_refused(lambda: tensor_files.read_header(file))
    if found is not None and not found[1]:
        for tensor in found[0].values():  # what has no fault is read by the library as well
            assert tensor.read(()).shape == tensor.shape


@fuzz
@given(st.binary(max_size=40))
def test_any_bytes_are_no_safetensors_file(tmp_path: Path, content: bytes):
    (tmp_path / "model.safetensors").write_bytes(content)
    read_or_refused(lambda: tensor_files.read_header(tmp_path / "model.safetensors"))


@fuzz
@given(data=st.data())
def test_any_index_is_read_or_refused(directory: Path, data: Any):
    good = json.loads((directory / "model.safetensors.index.json").read_text())
    few = {"weight_map": dict(list(good["weight_map"].items())[:3]), "metadata": {}}
    file = directory / "model.safetensors.index.json"
    file.write_text(json.dumps(data.draw(harmed(few) | values)))
    try:
        read_or_refused(lambda: hf.checked_tensors(directory, Qwen3Config.from_hf(directory)))
    finally:
        file.write_text(json.dumps(good))


def test_an_index_names_no_file_elsewhere(directory: Path):
    file = directory / "model.safetensors.index.json"
    good = file.read_text()
    file.write_text(json.dumps({"weight_map": {"model.norm.weight": "../other.safetensors"}}))
    with pytest.raises(InputError, match="expected an object from names of tensors to names of files beside it"):
        hf.load(directory)
    file.write_text(good)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: text[:-1] + b"," + text[1:],
        lambda text: text.replace(b'"dtype"', b'"more": NaN, "dtype"', 1),
        lambda text: text.replace(b'"format":', b'"\\ud800": "x", "format":', 1),
    ],
    ids=["mark", "twice", "nan", "half"],
)
def test_headers_that_only_the_library_refuses_are_told(tmp_path: Path, change: Callable[[bytes], bytes]):
    file = tmp_path / "x.safetensors"
    tensor_files.write(file, {"w": np.zeros((2, 2), np.float32)})
    good = file.read_bytes()
    length = int.from_bytes(good[:8], "little")
    text = change(good[8 : 8 + length])
    file.write_bytes(len(text).to_bytes(8, "little") + text + good[8 + length :])
    try:
        problems = tensor_files.read_header(file)[1]
    except InputError as error:
        problems = [str(error)]
    assert "safetensors" in "".join(problems)


def test_what_is_written_is_read_back(tmp_path: Path):
    tensors = {name: np.arange(6, dtype=dtype).reshape(2, 3) for name, dtype in tensor_files.DTYPES.items()}
    tensor_files.write(tmp_path / "x.safetensors", tensors)
    found, wrong = tensor_files.read_header(tmp_path / "x.safetensors")
    assert not wrong and found.keys() == tensors.keys()
    for name, tensor in found.items():
        assert tensor.code == name
        np.testing.assert_array_equal(tensor.read((slice(1), slice(1, 3))), tensors[name][:1, 1:3])

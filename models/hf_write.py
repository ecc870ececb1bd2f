"""Writes parameters as a Hugging Face directory: configuration, safetensors (one or several files), tokenizer."""

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from models import hf_layout, tensor_files
from models.config import Qwen3Config
from models.errors import InputError
from models.json_fields import read_json
from models.qwen3 import Params

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
# What goes along with the weights: everything that decides how text becomes ids and when an answer ends.
COMPANIONS = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
)
# (name, shape in the file, dtype, bytes, which parameter, which layer)
Planned = tuple[str, tuple[int, ...], Any, hf_layout.Entry, int]


def save_params(
    config: Qwen3Config,
    params: Params,
    directory: str | Path,
    *,
    source: str = "",
    dtype: str = "",
    max_file_bytes: int = 4 << 30,
) -> None:
    """Writes config, weights (in `dtype`; "": each in its own, to the bit) and the tokenizer files of `source`.

    Weights leave the devices one tensor at a time, and a file of them is written at once. Every process must call this;
    process 0 writes.
    Raises: InputError for a dtype that a model directory cannot hold.
    """
    directory = Path(directory)
    stored = dtype or params["embed_VD"].dtype.name
    if stored not in tensor_files.CODES:
        raise InputError(f"dtype = {stored!r}, allowed in a model directory: {', '.join(tensor_files.CODES)}")
    files = _split(_plan(params, dtype), max_file_bytes)
    names = (
        [SINGLE] if len(files) == 1 else [f"model-{i + 1:05}-of-{len(files):05}.safetensors" for i in range(len(files))]
    )
    writer = jax.process_index() == 0
    if writer:
        directory.mkdir(parents=True, exist_ok=True)
    for name, tensors in zip(names, files, strict=True):
        data = {}
        for tensor, _, kind, entry, layer in tensors:
            array = _host(params, entry, layer, kind)  # every process takes part in the gathering
            if writer:
                data[tensor] = hf_layout.to_file(entry, array)
        if writer:
            tensor_files.write(directory / f"{name}.part", data)
    if writer:
        _publish(directory, names, files)
        _describe(directory, config, source, stored)


def _plan(params: Params, dtype: str) -> Iterator[Planned]:
    """Every tensor to write, in order."""
    for entry, layer in hf_layout.entries(params):
        array = (params["layers"] if entry.stacked else params)[entry.ours]
        shape = hf_layout.file_shape(entry, hf_layout.sizes(entry, array.shape))
        yield entry.theirs.format(layer), shape, jnp.dtype(dtype or array.dtype), entry, layer


def _bytes(tensor: Planned) -> int:
    return math.prod(tensor[1]) * tensor[2].itemsize


def _split(tensors: Iterator[Planned], max_file_bytes: int) -> list[list[Planned]]:
    """Consecutive tensors, grouped into files of at most that size (a larger tensor stands alone)."""
    files: list[list[Planned]] = [[]]
    for tensor in tensors:
        if files[-1] and sum(map(_bytes, files[-1])) + _bytes(tensor) > max_file_bytes:
            files.append([])
        files[-1].append(tensor)
    return files


def _host(params: Params, entry: hf_layout.Entry, layer: int, dtype: Any) -> np.ndarray:
    """One tensor on the host, in our axes, gathered from every process that holds a part."""
    array = (
        params[entry.ours] if layer < 0 else jax.lax.dynamic_index_in_dim(params["layers"][entry.ours], layer, 0, False)
    )
    array = array.astype(dtype)
    whole = isinstance(array, np.ndarray) or array.is_fully_addressable
    return np.asarray(array if whole else multihost_utils.process_allgather(array, tiled=True))


def _publish(directory: Path, names: list[str], files: list[list[Planned]]) -> None:
    """Puts finished files in place of whatever weights stood here before."""
    for old in [*directory.glob("model*.safetensors"), directory / INDEX]:
        old.unlink(missing_ok=True)
    for name in names:
        (directory / f"{name}.part").replace(directory / name)
    if len(files) > 1:
        weight_map = {tensor[0]: name for name, tensors in zip(names, files, strict=True) for tensor in tensors}
        total = sum(_bytes(tensor) for tensors in files for tensor in tensors)
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        (directory / INDEX).write_text(json.dumps(index, indent=2) + "\n")


def _describe(directory: Path, config: Qwen3Config, source: str, dtype: str) -> None:
    """config.json over what the source's says (token ids, version), and the source's tokenizer files."""
    base = read_json(source) if source else {}
    (directory / "config.json").write_text(json.dumps(base | config.to_hf(dtype=dtype), indent=2) + "\n")
    for name in COMPANIONS if source else ():
        if (Path(source) / name).exists() and Path(source).resolve() != directory.resolve():
            shutil.copyfile(Path(source) / name, directory / name)

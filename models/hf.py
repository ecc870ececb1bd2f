"""Models from and to Hugging Face directories.

Loading streams: every process reads only the slices its devices own, piece by piece, straight into sharded arrays.
What is wrong with a directory is found from the file headers, before any weight is read, and told at once.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from models import hf_layout, tensor_files
from models.config import Qwen3Config
from models.errors import InputError
from models.file_paths import remote_or_local
from models.hf_layout import EMBEDDING, HEAD, TABLE, Entry, Index
from models.hf_write import INDEX, SINGLE, save_params
from models.json_fields import Kind, faults, read_json
from models.qwen3 import Params, Qwen3, param_shapes, params_of
from models.sharding import RULES, Rules, make_mesh, param_shardings
from models.tensor_files import Tensor

Array = jax.Array
Shape = tuple[int, ...]
Read = Callable[[Index], np.ndarray]
PIECE_BYTES = 32 << 20  # of an array, over all its shards, read at a time
NAMES_OF_FILES = Kind(
    "an object from names of tensors to names of files beside it",
    lambda value: (
        isinstance(value, dict)
        and all(
            isinstance(file, str) and Path(file).name == file and file.isprintable() and 0 < len(file) < 256
            for file in value.values()
        )
    ),
)
NAMED = 8  # problems told in full before the rest is counted


def load(directory: str | Path, *, mesh: Mesh | None = None, dtype: str = "float32") -> Qwen3:
    """The model of a Hugging Face directory, its weights in `dtype`, on one device or sharded over a mesh.

    Raises: InputError naming every missing, unexpected, wrongly shaped, wrongly typed or cut off tensor at once.
    """
    config = Qwen3Config.from_hf(directory)
    return Qwen3(config, load_params(directory, config, mesh, dtype=dtype), source=str(directory))


def save(model: Qwen3, directory: str | Path, *, dtype: str = "") -> None:
    """Writes a directory that transformers (and engines that read its format) load: config, weights, tokenizer.

    Without `dtype` every weight keeps its own, to the bit. Every process must call this; process 0 writes.
    """
    save_params(model.config, params_of(model), directory, source=model.source, dtype=dtype)


def load_params(
    directory: str | Path, config: Qwen3Config, mesh: Mesh | None = None, rules: Rules = RULES, dtype: str = "float32"
) -> Params:
    """The parameters alone; see `load`."""
    if dtype not in tensor_files.CODES:
        raise InputError(f"dtype = {dtype!r}, allowed: {', '.join(tensor_files.CODES)}")
    mesh = make_mesh(1, 1, 1, jax.local_devices()[:1]) if mesh is None else mesh
    shardings, shapes = param_shardings(config, mesh, rules), param_shapes(config)
    tensors = checked_tensors(remote_or_local(directory), config)
    params: Params = {"layers": {}}
    for entry in TABLE:
        group, shape_of, sharding_of = (t["layers"] if entry.stacked else t for t in (params, shapes, shardings))
        if entry.ours in shape_of:
            shape = shape_of[entry.ours]
            read = _reader(entry, shape, tensors, jnp.dtype(dtype))
            if config.tied and entry.theirs == EMBEDDING and HEAD in tensors:
                read = _equal_to(read, _reader(replace(entry, theirs=HEAD), shape, tensors, jnp.dtype(dtype)))
            group[entry.ours] = _assemble(entry, shape, sharding_of[entry.ours], dtype, read)
    return params


def checked_tensors(directory: Any, config: Qwen3Config) -> dict[str, Tensor]:
    """Every tensor of a directory, by name, after comparing them with what the configuration asks for.

    Raises: InputError with everything that is missing, unexpected, wrongly shaped or typed, or cut off, in one line.
    """
    tensors, problems, whole = _all_tensors(directory)
    stored = read_json(directory).get("dtype") or read_json(directory).get("torch_dtype")
    expected = _expected(config)
    if whole:
        problems += [f"missing {name}{_tied_note(name, config)}" for name in expected if name not in tensors]
    for name, tensor in tensors.items():
        wanted = expected.get(EMBEDDING if name == HEAD and config.tied else name)
        if wanted is None:
            problems.append(f"unexpected {name} {list(tensor.shape)}")
        elif tensor.shape != wanted:
            problems.append(f"{name} has shape {list(tensor.shape)}, config.json asks for {list(wanted)}")
        elif tensor.code == "F16" and stored != "float16":
            problems.append(f"{name} has dtype F16, config.json says {stored}")
    if problems:
        rest = f"; and {len(problems) - NAMED} more problems" if len(problems) > NAMED else ""
        raise InputError(f"{directory}: " + "; ".join(problems[:NAMED]) + rest)
    return tensors


def _expected(config: Qwen3Config) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor a directory of this configuration must hold."""
    shapes = param_shapes(config)
    expected: dict[str, tuple[int, ...]] = {}
    for entry, layer in hf_layout.entries(shapes):
        shape = (shapes["layers"] if entry.stacked else shapes)[entry.ours]
        expected[entry.theirs.format(layer)] = hf_layout.file_shape(entry, hf_layout.sizes(entry, shape))
    return expected


def _tied_note(name: str, config: Qwen3Config) -> str:
    return " (config.json says tie_word_embeddings = false)" if name == HEAD and not config.tied else ""


def _all_tensors(directory: Any) -> tuple[dict[str, Tensor], list[str], bool]:
    """The tensors of the single file or of every file of the index; what is wrong; whether every header was read."""
    if not (directory / SINGLE).exists() and not (directory / INDEX).exists():
        raise InputError(f"{directory}: neither {SINGLE} nor {INDEX} is here; other weight formats are not read")
    # a single file holds everything it names, as in transformers
    weight_map = None if (directory / SINGLE).exists() else _weight_map(directory)
    tensors: dict[str, Tensor] = {}
    problems: list[str] = []
    whole = True
    for file in [SINGLE] if weight_map is None else sorted(set(weight_map.values())):
        try:
            found, faults = tensor_files.read_header(directory / file)
        except InputError as error:
            found, faults, whole = {}, [str(error)], False
        problems += faults
        if weight_map is not None:
            astray = [name for name in found if weight_map.get(name) != file]
            problems += [f"{name} stands in {file}, the index says {weight_map.get(name)}" for name in astray]
        tensors |= found
    return tensors, problems, whole


def _weight_map(directory: Path) -> dict[str, str]:
    """Which file of the directory holds each tensor. Raises: InputError for an index that says something else."""
    index = read_json(directory, INDEX)
    if problems := [*faults(index, {"weight_map": NAMES_OF_FILES})]:
        raise InputError(f"{directory / INDEX}: " + "; ".join(problems))
    return index["weight_map"]


def _reader(entry: Entry, shape: Shape, tensors: dict[str, Tensor], dtype: Any) -> Read:
    """Reads slices (in our axes) of one parameter from its tensor, or from the tensors of its layers."""
    size = hf_layout.sizes(entry, shape)

    def one(name: str, index: Index) -> np.ndarray:
        return hf_layout.from_file(entry, size, index, tensors[name].read)

    def stack(index: Index) -> np.ndarray:
        layers = range(*index[0].indices(shape[0]))
        lengths = [len(range(*s.indices(n))) for s, n in zip(index[1:], shape[1:], strict=True)]
        out = np.empty((len(layers), *lengths), dtype)
        for row, layer in zip(out, layers, strict=True):
            row[...] = one(entry.theirs.format(layer), index[1:])
        return out

    return stack if entry.stacked else lambda index: np.ascontiguousarray(one(entry.theirs, index), dtype)


def _equal_to(read: Read, copy: Read) -> Read:
    """The same slices, compared with the copy of the tied head that some releases store."""

    def both(index: Index) -> np.ndarray:
        values = read(index)
        if not np.array_equal(values, copy(index)):
            raise InputError(f"{HEAD} differs from {EMBEDDING} although config.json says tie_word_embeddings = true")
        return values

    return both


def _assemble(entry: Entry, shape: Shape, sharding: NamedSharding, dtype: str, read: Read) -> Array:
    """A sharded array, read in pieces so that little of it is ever on the host."""
    local = sharding.shard_shape(shape)
    steps = _steps(entry, shape, local, jnp.dtype(dtype).itemsize)

    def piece(starts: Shape) -> Array:
        """From every shard the block at `starts`, at most `steps` long."""
        counts = tuple(min(step, n - start) for step, n, start in zip(steps, local, starts, strict=True))
        held: dict[Shape, np.ndarray] = {}

        def callback(index: Index | None) -> np.ndarray:
            assert index is not None
            shards = [(s.start or 0) // count for s, count in zip(index, counts, strict=True)]
            begins = tuple(i * n + start for i, n, start in zip(shards, local, starts, strict=True))
            if begins not in held:  # copies of a shard on other devices are read once
                held[begins] = read(tuple(slice(b, b + count) for b, count in zip(begins, counts, strict=True)))
            return held[begins]

        piece_shape = tuple(n // part * count for n, part, count in zip(shape, local, counts, strict=True))
        return jax.make_array_from_callback(piece_shape, sharding, callback, dtype=jnp.dtype(dtype))

    if steps == local:
        return piece((0,) * len(shape))
    whole = _zeros(shape, dtype, sharding)()
    for starts in itertools.product(*(range(0, n, step) for n, step in zip(local, steps, strict=True))):
        # waiting keeps one piece on the host instead of as many as the disk can outrun the device
        whole = jax.block_until_ready(_place(sharding)(whole, piece(starts), starts))
    return whole


def _steps(entry: Entry, shape: Shape, local: Shape, itemsize: int) -> Shape:
    """How much of each axis of a shard makes a piece: layers are split first, then whole rows of the file's tensors."""
    rows = entry.ours.rsplit("_", 1)[1].index(entry.layout[0][0])
    steps, size = list(local), math.prod(shape) * itemsize
    for axis in (0, rows) if entry.stacked else (rows,):
        steps[axis] = max(1, local[axis] // max(1, math.ceil(size / PIECE_BYTES)))
        size = size * steps[axis] // local[axis]
    return tuple(steps)


@lru_cache
def _zeros(shape: Shape, dtype: str, sharding: NamedSharding) -> Callable[[], Array]:
    return jax.jit(lambda: jnp.zeros(shape, dtype), out_shardings=sharding)


@lru_cache
def _place(sharding: NamedSharding) -> Callable[[Array, Array, Shape], Array]:
    """Writes a piece into every shard of an array, in place."""
    spec = sharding.spec
    mapped = jax.shard_map(
        jax.lax.dynamic_update_slice, mesh=sharding.mesh, in_specs=(spec, spec, P()), out_specs=spec, check_vma=False
    )
    return jax.jit(mapped, donate_argnums=0)

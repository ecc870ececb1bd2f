"""LoRA: adapters of low rank on projections. What is used is W + alpha / rank * in out; only `in` and `out` train.

Adapters lie beside their matrix in a layer's dict (`q_in_LDA`, `q_out_LANH` beside `q_LDNH`), so whatever goes over
parameters goes over them: sharding by letters, optimizer state, checkpoints. They are merged where a layer's weights
are used, in float32 and before the cast to the compute dtype, so a layer computes with adapters as it would with the
merged matrix, and training with the very weights that sample.

Source: arXiv:2106.09685; files as the package `peft` has them.
"""

import dataclasses
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from models import hf_layout, tensor_files
from models.errors import InputError
from models.hf_layout import Entry
from models.qwen3 import Params, Qwen3Config, param_shapes
from models.scan import ShardingHooks

Array = jax.Array
PROJECTIONS = {entry.theirs.split(".")[-2]: entry for entry in hf_layout.TABLE if entry.theirs.endswith("_proj.weight")}
ADAPTER, SETTINGS = "adapter_model.safetensors", "adapter_config.json"


@dataclass(frozen=True)
class Lora:
    """Adapters of one `rank` on the projections `targets`; `NONE` trains all weights."""

    rank: int = 0
    alpha: float = 0.0
    targets: tuple[str, ...] = ()

    @property
    def scale(self) -> float:
        """What the product of an adapter's matrices is multiplied by."""
        return self.alpha / self.rank if self.rank else 0.0


NONE = Lora()


def check(lora: Lora, config: Qwen3Config) -> None:
    """Raises: InputError, naming the field of `--lora`, for adapters that this model cannot have."""
    if not lora.targets or len(set(lora.targets)) < len(lora.targets):
        raise InputError(f"lora.targets must name projections, each once; got {','.join(lora.targets)!r}")
    for target in lora.targets:
        if target not in PROJECTIONS:
            raise InputError(f"lora.targets: there is no projection {target!r}; there are {', '.join(PROJECTIONS)}")
    if not 0 < lora.alpha < math.inf:
        raise InputError(f"lora.alpha must be a finite number above 0; got {lora.alpha}")
    side, target = min((min(_sides(target, config)), target) for target in lora.targets)
    if not 1 <= lora.rank <= side:
        raise InputError(
            f"lora.rank must be from 1 to {side}, the smaller side of {target} (0: all weights train); got {lora.rank}"
        )


def _sides(target: str, config: Qwen3Config) -> tuple[int, ...]:
    entry = PROJECTIONS[target]
    return hf_layout.file_shape(entry, hf_layout.sizes(entry, param_shapes(config)["layers"][entry.ours]))


def pair(entry: Entry) -> tuple[Entry, Entry]:
    """The two matrices of a projection's adapter, here and in the files of `peft` (lora_A and lora_B)."""
    (out, into), stem = entry.layout, entry.ours.rsplit("_", 1)[0]
    theirs = "base_model.model." + entry.theirs.removesuffix("weight")
    return (
        Entry(f"{stem}_in_L{into}A", f"{theirs}lora_A.weight", ("A", into)),
        Entry(f"{stem}_out_LA{out}", f"{theirs}lora_B.weight", (out, "A")),
    )


def shapes(lora: Lora, config: Qwen3Config) -> Params:
    """The shape of every matrix of the adapters; layers are stacked on a leading axis."""
    matrices, found = param_shapes(config)["layers"], {}
    for entry in (PROJECTIONS[target] for target in lora.targets):
        size = hf_layout.sizes(entry, matrices[entry.ours]) | {"A": lora.rank}
        for matrix in pair(entry):
            found[matrix.ours] = config.layers, *(size[letter] for letter in matrix.letters)
    return {"layers": found}


def init(lora: Lora, config: Qwen3Config, key: Array) -> Params:
    """Float32 adapters that change nothing yet: `in` uniform within 1 / sqrt(its inputs), as in `peft`, `out` zero."""

    def leaf(place: int, name: str, shape: tuple[int, ...]) -> Array:
        if not name.endswith("A"):
            return jnp.zeros(shape, jnp.float32)
        bound = math.prod(shape[1:-1]) ** -0.5
        return jax.random.uniform(jax.random.fold_in(key, place), shape, jnp.float32, -bound, bound)

    found = shapes(lora, config)["layers"]
    return {"layers": {name: leaf(place, name, shape) for place, (name, shape) in enumerate(found.items())}}


def merged(scale: float, layer: Params) -> Params:
    """One layer's weights without adapters: W + scale * in out, float32, where a matrix has one beside it."""
    out = dict(layer)
    for entry in PROJECTIONS.values():
        into, back = pair(entry)
        if into.ours in out:
            a, b = out.pop(into.ours).astype(jnp.float32), out.pop(back.ours).astype(jnp.float32)
            product = jnp.einsum(f"{into.letters},{back.letters}->{entry.letters}", a, b)
            out[entry.ours] = out[entry.ours].astype(jnp.float32) + scale * product
    return out


def merged_model(scale: float, params: Params) -> Params:
    """All weights without adapters."""
    return {**params, "layers": jax.vmap(partial(merged, scale))(params["layers"])}


def merging(scale: float, hooks: ShardingHooks) -> ShardingHooks:
    """The same places for layers that may have adapters.

    They are merged while they are split over chips, so what is gathered, and summed of gradients, is the matrix alone.
    """

    def is_layer(part: Any) -> bool:
        return isinstance(part, dict)

    def weights(inputs: Any) -> Any:
        merge = lambda part: merged(scale, part) if is_layer(part) else part  # noqa: E731
        return hooks.weights(jax.tree.map(merge, inputs, is_leaf=is_layer))

    return dataclasses.replace(hooks, weights=weights)


def save(lora: Lora, adapters: Params, directory: Path, *, base: str, dtype: str = "float32") -> None:
    """Writes a directory that `peft` loads; `base` is the model to put the adapters on."""
    directory.mkdir(parents=True, exist_ok=True)
    tensor_files.write(directory / ADAPTER, dict(_tensors(lora, adapters, jnp.dtype(dtype))))
    settings = {
        "base_model_name_or_path": base,
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "target_modules": list(lora.targets),
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
    }
    (directory / SETTINGS).write_text(json.dumps(settings, indent=2) + "\n")


def _tensors(lora: Lora, adapters: Params, dtype: Any) -> Iterator[tuple[str, np.ndarray]]:
    for matrix in (matrix for target in lora.targets for matrix in pair(PROJECTIONS[target])):
        for layer, array in enumerate(np.asarray(adapters["layers"][matrix.ours])):
            yield matrix.theirs.format(layer), hf_layout.to_file(matrix, array.astype(dtype))

"""What a checkpoint stands for: the weights that trained, or adapters and the weights that they go onto."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from hsd_jax.runtime import checkpoint, paths
from hsd_jax.types import PyTree
from hsd_jax.update import frozen
from hsd_jax.update.teacher import full_weights
from models import hf, lora
from models.lora import Lora
from models.qwen3 import Params, Qwen3Config, cast, param_shapes
from models.sharding import abstract, make_mesh


@dataclass(frozen=True)
class Trained:
    """`params`, float32, are all weights or those of adapters; `source` is the directory that the run began with."""

    model: Qwen3Config
    lora: Lora
    params: Params
    source: str
    meta: Mapping[str, Any]


def read(path: str | os.PathLike[str], mesh: Mesh | None = None) -> Trained:
    """What trained, and nothing else of a checkpoint: sharded over `mesh`, or without one as host arrays.

    `path` is one step's directory, or a workdir or checkpoint directory, of which the newest good step is taken.
    Raises: InputError if there is no good checkpoint.
    """
    root, step = checkpoint.find(path)
    meta = checkpoint.restore_meta(root, step)
    with checkpoint.readable(root, step):
        model, held = Qwen3Config(**meta["model"]), meta.get("lora", {})
        adapters = Lora(**held | {"targets": tuple(held["targets"])}) if held else lora.NONE
        source = paths.absolute(meta["config"]["model"]["path"], "model.path", paths.ROOT)
        shapes = lora.shapes(adapters, model) if adapters.rank else param_shapes(model)
    like = _on_host(shapes) if mesh is None else abstract(shapes, mesh, np.float32)
    params = checkpoint.restore_part(root, step, {"params": like})["params"]
    return Trained(model, adapters, params, source, meta)


def restore_params(path: str | os.PathLike[str], mesh: Mesh | None = None) -> tuple[Qwen3Config, Params, str]:
    """All weights of a checkpoint's policy, float32, its model, and the directory that its tokenizer came from.

    Raises: InputError as `read` and `whole` do.
    """
    held = read(path, mesh)
    return held.model, whole(held, mesh) if held.lora.rank else held.params, held.source


def whole(held: Trained, mesh: Mesh | None = None) -> Params:
    """Adapters merged into the weights that their run began with, as it read them: in its compute dtype.

    All lies over `mesh`, or without one over all devices.
    Raises: InputError where `held.source` holds other weights by now.
    """
    mesh = make_mesh(1, -1, 1) if mesh is None else mesh
    dtype = jnp.dtype(held.meta["config"]["model"]["compute_dtype"])
    base = cast(hf.load_params(held.source, held.model, mesh), dtype)
    frozen.check_resume(held.meta["frozen"], {"initial": frozen.hash_of(base)})
    merged = lora.merged_model(held.lora.scale, full_weights({"initial": base}, held.params))
    return jax.tree.map(lambda x: x.astype(jnp.float32), merged)


def _on_host(shapes: PyTree) -> PyTree:
    return jax.tree.map(lambda shape: np.empty(shape, np.float32), shapes, is_leaf=lambda x: isinstance(x, tuple))

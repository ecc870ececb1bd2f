"""The arguments of a run's programs as shapes, dtypes and shardings: everything but the arrays."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from hsd_jax.config import Config
from hsd_jax.data import chat_template
from hsd_jax.data.tokenization import Tokenization
from hsd_jax.errors import InputError
from hsd_jax.sampler import decode_sharding
from hsd_jax.setup import components
from hsd_jax.setup.components import RunComponents, RunConfig
from hsd_jax.setup.tokenizer import windows_of
from hsd_jax.types import Padded, Problems, PyTree, Rollouts
from hsd_jax.update.compiled import state_shardings
from hsd_jax.update.state import StepInputs, TrainState
from models import sharding
from models.qwen3 import Qwen3Config

MARKER_TOKENS, TAIL_TOKENS = 16, 64  # fixed texts around a peer and after a question; their exact widths do not matter
TOKENIZER_IDS = 151_669  # of Qwen3; the rows of the head above it are padding
FIXED = {"vocab_size": 151_936, "kv_heads": 8, "head_dim": 128, "rope_theta": 1e6, "norm_eps": 1e-6}
# name -> width, mlp width, layers, heads, tied embeddings. Source: the released config.json files.
RELEASED = {
    "Qwen3-0.6B": (1024, 3072, 28, 16, True),
    "Qwen3-1.7B": (2048, 6144, 28, 16, True),
    "Qwen3-4B": (2560, 9728, 36, 32, True),
    "Qwen3-8B": (4096, 12288, 36, 32, False),
    "Qwen3-14B": (5120, 17408, 40, 40, False),
    "Qwen3-32B": (5120, 25600, 64, 64, False),
}


def model_of(path: str) -> Qwen3Config:
    """The model's shape: from its directory, or by its name where the weights are not on this machine.

    Raises: InputError if there is neither.
    """
    if (Path(path) / "config.json").is_file():
        return Qwen3Config.from_hf(path)
    name = Path(path).name.removesuffix("-Base")
    if name not in RELEASED:
        raise InputError(
            f"model.path: {path} holds no config.json and is not named like a released model ({', '.join(RELEASED)})"
        )
    width, mlp_width, layers, heads, tied = RELEASED[name]
    return Qwen3Config(
        width=width, mlp_width=mlp_width, layers=layers, heads=heads, tied=tied, max_positions=40_960, **FIXED
    )


def texts_of(config: Config, model: Qwen3Config, further: Sequence[str] = ()) -> Tokenization:
    """Windows and places of texts without a tokenizer."""
    marker = Padded(np.zeros(MARKER_TOKENS, np.int32), np.int32(MARKER_TOKENS))  # type: ignore[arg-type]
    tokenizer = range(min(TOKENIZER_IDS, model.vocab_size))  # only its length is asked for
    none: Any = None
    return Tokenization(
        tokenizer, none, dict.fromkeys(chat_template.fixed_texts(""), marker), windows_of(config, further), (), 0
    )


def abstract(tree: PyTree, sharding_of: Callable[[Any], Any]) -> PyTree:
    """Every array of a tree of arrays or shapes as a shape with a sharding."""

    def leaf(x: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(np.shape(x), x.dtype, sharding=sharding_of(x))

    return jax.tree.map(leaf, tree)


def state_of(run: RunConfig, optimizer: optax.GradientTransformation) -> TrainState:
    """The training state as `setup.initial_state` makes it."""
    params = sharding.abstract_params(run.model, run.mesh, jnp.float32)
    shapes = jax.eval_shape(components.starting_from(run, optimizer), params)
    return jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, state_shardings(run.mesh, shapes)
    )


def update_args(parts: RunComponents) -> tuple[TrainState, StepInputs, Any]:
    """The state, one step's inputs at the windows of the config, and the order of its problems in the rows."""
    config, mesh, windows = parts.run.config, parts.run.mesh, parts.sampler.texts.windows
    problems, group = config.data.problems_per_step, config.sampling.group_size
    steps = max(windows.response.values())
    rows = sharding.batch_sharding(mesh)

    def array(*shape: int, dtype: Any = np.int32) -> Any:
        return jax.ShapeDtypeStruct((problems, *shape), dtype, sharding=rows)

    def ragged(width: int) -> Padded:
        return Padded(array(width), array())

    pieces = Problems(
        id_P=array(dtype=np.uint32),
        prefix=ragged(windows.prompt - TAIL_TOKENS if windows.prompt > TAIL_TOKENS else windows.prompt),
        answer=ragged(windows.answer),
        solution=ragged(windows.solution),
        feedback=Padded(array(group, windows.feedback), array(group)),
        wrong_answer=Padded(array(group, windows.answer), array(group)),
        suffix=ragged(TAIL_TOKENS),
        limit_P=array(),
        further={name: ragged(width) for name, width in windows.further.items()},
    )
    rollouts = Rollouts(
        response_PGT=array(group, steps),
        length_PG=array(group),
        finished_PG=array(group, dtype=np.bool_),
        logprob_PGT=array(group, steps, dtype=np.float32),
    )
    graded = pieces, rollouts, array(group, dtype=np.float32)
    key = jax.eval_shape(lambda: jax.random.key(0))
    inputs, _ = jax.eval_shape(parts.step.inputs, *graded, key)
    order_P = jax.ShapeDtypeStruct((problems,), np.int32, sharding=sharding.replicated(mesh))
    return state_of(parts.run, parts.step.settings.optimizer), abstract(inputs, lambda x: rows), order_P


def decode_params_of(parts: RunComponents) -> PyTree:
    """The weights of the sampler on one host."""
    run, program = parts.run, parts.sampler.program
    shapes = jax.eval_shape(
        lambda p: decode_sharding.per_layer(p, config=run.model, dtype=program.dtype),
        sharding.abstract_params(run.model, run.mesh, jnp.float32),
    )
    places = decode_sharding.shardings(run.model, program.layout)
    return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, places)


def bytes_per_chip(tree: PyTree) -> int:
    """What a tree of shapes with shardings takes on one chip."""
    return sum(
        int(np.prod(x.sharding.shard_shape(x.shape))) * np.dtype(x.dtype).itemsize for x in jax.tree.leaves(tree)
    )

"""The arguments of a run's programs as shapes, dtypes and shardings: everything but the arrays."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hsd_jax import methods
from hsd_jax.config import Config
from hsd_jax.data import chat_template
from hsd_jax.data.input_pipeline import Questions, Tokenization
from hsd_jax.data.tokenization import Windows
from hsd_jax.errors import InputError
from hsd_jax.sampler import decode_sharding, token_sampling
from hsd_jax.setup import components, method_overrides, validation
from hsd_jax.setup.components import RunComponents
from hsd_jax.types import Padded, Problems, PyTree, Rollouts
from hsd_jax.update.compiled import jit_inputs, state_shardings
from hsd_jax.update.state import StepInputs, TrainState
from models import sharding
from models.qwen3 import Qwen3Config, cast

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


def components_on(config: Config, devices: list[Any], host: list[Any]) -> RunComponents:
    """A run's parts for devices that are not there (`host`: those of one process): no weights, tokenizer, questions."""
    method = method_overrides.resolve(config.method)
    validation.check(config, method, len(devices) // len(host))
    mesh = sharding.make_mesh(config.mesh.data, config.mesh.fsdp, config.mesh.tensor, devices)
    validation.check_mesh(config, method, mesh)
    model = model_of(config.model.path)
    sharding.param_shardings(model, mesh)
    choice = token_sampling.sampling_params(
        temperature=config.sampling.temperature, top_p=config.sampling.top_p, top_k=config.sampling.top_k
    )
    decoding = decode_sharding.decode_mesh(tensor=config.sampling.tensor, devices=host)
    settings, rows = components.step_settings(config, method, mesh), components.step_layout(config, method, model, mesh)
    none: Any = ()
    questions = Questions(none, {}, ())
    return RunComponents(
        config, method, model, mesh, _texts(config, model), questions, settings, rows, decoding, choice
    )


def _texts(config: Config, model: Qwen3Config) -> Tokenization:
    marker = Padded(np.zeros(MARKER_TOKENS, np.int32), np.int32(MARKER_TOKENS))  # type: ignore[arg-type]
    code = config.sampling.code_response_tokens or config.sampling.response_tokens
    response = {"math": config.sampling.response_tokens, "code": code}
    windows = Windows(
        config.data.prompt_tokens,
        config.data.answer_tokens,
        config.data.solution_tokens,
        response,
        config.data.feedback_tokens,
    )
    tokenizer = range(min(TOKENIZER_IDS, model.vocab_size))  # only its length is asked for
    none: Any = None
    return Tokenization(tokenizer, none, dict.fromkeys(chat_template.fixed_texts(""), marker), windows, (), 0)


def abstract(tree: PyTree, sharding_of: Callable[[Any], Any]) -> PyTree:
    """Every array of a tree of arrays or shapes as a shape with a sharding."""

    def leaf(x: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(np.shape(x), x.dtype, sharding=sharding_of(x))

    return jax.tree.map(leaf, tree)


def state_of(parts: RunComponents) -> TrainState:
    """The training state as `setup.initial_state` makes it."""
    config, method, mesh = parts.config, parts.method, parts.mesh

    def build(params: PyTree) -> TrainState:
        copies = {name: cast(params, d) for name, d in components.dtypes_of_copies(config, method).items()}
        opt_state = parts.settings.optimizer.init(params)
        return TrainState(params, opt_state, copies, methods.start_memory(method), jnp.zeros((), jnp.int32))

    shapes = jax.eval_shape(build, sharding.abstract_params(parts.model, mesh, jnp.float32))
    return jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
        shapes,
        state_shardings(mesh, shapes),
    )


def update_args(parts: RunComponents) -> tuple[TrainState, StepInputs, Any]:
    """The state, one step's inputs at the windows of the config, and the order of its problems in the rows."""
    config, windows = parts.config, parts.texts.windows
    problems, group = config.data.problems_per_step, config.sampling.group_size
    steps = max(windows.response.values())
    rows = sharding.batch_sharding(parts.mesh)

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
    )
    rollouts = Rollouts(
        response_PGT=array(group, steps),
        length_PG=array(group),
        finished_PG=array(group, dtype=np.bool_),
        logprob_PGT=array(group, steps, dtype=np.float32),
    )
    graded = pieces, rollouts, array(group, dtype=np.float32)
    key = jax.eval_shape(lambda: jax.random.key(0))
    inputs, _ = jax.eval_shape(jit_inputs(parts.settings, parts.texts.frame, parts.mesh), *graded, key)
    order_P = jax.ShapeDtypeStruct((problems,), np.int32, sharding=sharding.replicated(parts.mesh))
    return state_of(parts), abstract(inputs, lambda x: rows), order_P


def decode_params_of(parts: RunComponents) -> PyTree:
    """The weights of the sampler on one host."""
    shapes = jax.eval_shape(
        lambda p: decode_sharding.per_layer(p, config=parts.model, dtype=parts.config.sampling.dtype),
        sharding.abstract_params(parts.model, parts.mesh, jnp.float32),
    )
    places = decode_sharding.shardings(parts.model, decode_sharding.DecodeSharding(parts.decode_mesh))
    return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, places)


def bytes_per_chip(tree: PyTree) -> int:
    """What a tree of shapes with shardings takes on one chip."""
    return sum(
        int(np.prod(x.sharding.shard_shape(x.shape))) * np.dtype(x.dtype).itemsize for x in jax.tree.leaves(tree)
    )

"""From a config to everything a run needs; all that can be refused is refused here, before anything compiles."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from hsd_jax import methods
from hsd_jax.config import Config
from hsd_jax.data.input_pipeline import Questions, Tokenization, load_tokenization, read_questions
from hsd_jax.methods import Method
from hsd_jax.sampler import token_sampling
from hsd_jax.sampler.buckets import make_sampler_config
from hsd_jax.sampler.decode import SamplerConfig
from hsd_jax.sampler.decode_sharding import decode_mesh
from hsd_jax.sampler.token_sampling import SamplingParams as Choice
from hsd_jax.scoring import batch_layout
from hsd_jax.scoring.batch_layout import BatchLayout
from hsd_jax.scoring.fused_loss import over_mesh
from hsd_jax.setup import method_overrides, validation
from hsd_jax.update import teacher
from hsd_jax.update.compiled import state_shardings
from hsd_jax.update.state import StepConfig, TrainState
from models import hf, sharding
from models.qwen3 import Params, Qwen3Config, cast


@dataclass(frozen=True)
class RunComponents:
    """Everything a run is made of besides its state."""

    config: Config
    method: Method
    model: Qwen3Config
    mesh: Mesh
    texts: Tokenization
    questions: Questions
    settings: StepConfig
    layout: BatchLayout
    decode_mesh: Mesh
    choice: Choice


def build_components(config: Config) -> RunComponents:
    """Reads the model's shape, tokenizer and data, and fixes every program's settings; compiles nothing.

    Raises: InputError for anything that cannot work, naming the field.
    """
    method = method_overrides.resolve(config.method)
    validation.check(config, method, jax.process_count())
    mesh = sharding.make_mesh(config.mesh.data, config.mesh.fsdp, config.mesh.tensor)
    validation.check_mesh(config, method, mesh)
    model = Qwen3Config.from_hf(config.model.path)
    validation.check_positions(config, model.max_positions)
    sharding.param_shardings(model, mesh)
    texts = load_tokenization(config, model)
    questions = read_questions(config, texts)
    settings, rows = step_settings(config, method, mesh), step_layout(config, method, model, mesh)
    settings = replace(settings, control_ids=texts.control_ids)
    s = config.sampling
    choice = token_sampling.sampling_params(
        temperature=s.temperature, top_p=s.top_p, top_k=s.top_k, stop_ids=texts.stop_ids
    )
    decoding = decode_mesh(tensor=s.tensor)
    return RunComponents(config, method, model, mesh, texts, questions, settings, rows, decoding, choice)


def step_settings(config: Config, method: Method, mesh: Mesh) -> StepConfig:
    """What the jitted step is specialized on, besides the sizes of its rows."""
    return StepConfig(
        method=method,
        optimizer=make_optimizer(config),
        prompt_tokens=config.data.prompt_tokens,
        context_tokens=config.data.context_tokens,
        min_peer_tokens=config.data.min_peer_tokens,
        micro_batches=config.optimizer.micro_batches,
        chunk=config.optimizer.loss_chunk,
        reference_every=config.optimizer.reference_every,
        spread=over_mesh(mesh),
    )


def step_layout(config: Config, method: Method, model: Qwen3Config, mesh: Mesh) -> BatchLayout:
    """How the update lays out a step's texts."""
    dtype, o = jnp.dtype(config.model.compute_dtype), config.optimizer
    steps = max(config.sampling.response_tokens, config.sampling.code_response_tokens)
    options = {"dtype": dtype, "remat": config.model.remat, "placement": sharding.placement(model, mesh, dtype)}
    if o.layout == "padded":
        return batch_layout.padded(model, context=config.data.context_tokens, steps=steps, **options)
    parts = {"parts": o.micro_batches, "minibatches": method.minibatches}
    return batch_layout.packed(model, mesh, steps=steps, block=o.attention_block, **parts, **options)


def make_optimizer(config: Config) -> optax.GradientTransformation:
    """AdamW behind a clip of the global norm. Source: arXiv:2606.15576 (all values but the clip)."""
    o = config.optimizer
    adamw = optax.adamw(
        learning_rates(o.learning_rate, o.warmup_steps), b1=o.b1, b2=o.b2, eps=o.eps, weight_decay=o.weight_decay
    )
    return optax.chain(optax.clip_by_global_norm(o.clip_norm), adamw) if o.clip_norm else adamw


def learning_rates(rate: float, warmup_steps: int) -> optax.ScalarOrSchedule:
    """rate * min(1, n / warmup_steps) for update n = 1, 2, ..: the first update already learns; constant without."""
    return optax.linear_schedule(rate / warmup_steps, rate, warmup_steps - 1) if warmup_steps > 1 else rate


def initial_state(parts: RunComponents) -> TrainState:
    """The state before the first update, sharded over the mesh; nothing is ever whole on one device."""
    params = hf.load_params(parts.config.model.path, parts.model, mesh=parts.mesh)
    dtypes = dtypes_of_copies(parts.config, parts.method)

    def build(params: Params) -> TrainState:
        copies = {name: jax.tree.map(jnp.array, cast(params, dtype)) for name, dtype in dtypes.items()}
        return TrainState(
            params,
            parts.settings.optimizer.init(params),
            copies,
            methods.start_memory(parts.method),
            jnp.zeros((), jnp.int32),
        )

    shardings = state_shardings(parts.mesh, jax.eval_shape(build, params))
    return jax.jit(build, out_shardings=shardings)(params)


def dtypes_of_copies(config: Config, method: Method) -> dict[str, Any]:
    """The copies of the weights that a run keeps besides the policy, and the number format of each."""
    names = teacher.names_of_copies(
        teacher=method.teacher,
        teaches=methods.has_teacher(method),
        anchored=bool(method.beta),
        reference_every=config.optimizer.reference_every,
    )
    # a copy that moves by small steps would stand still in bfloat16
    return {name: jnp.dtype(config.model.compute_dtype if name == "initial" else "float32") for name in names}


def sampler(parts: RunComponents, *, rows: int, response_tokens: int) -> SamplerConfig:
    """The sampler's shapes for this process: `rows` rollouts at a time at the most."""
    s = parts.config.sampling
    data = parts.decode_mesh.shape["data"]
    slots = -(-min(s.slots or rows, rows) // data) * data
    return make_sampler_config(
        parts.model,
        vocabulary=len(parts.texts.tokenizer),
        pad_id=parts.texts.pad_id,
        prompt_window=parts.config.data.prompt_tokens,
        response_window=response_tokens,
        slots=slots,
        chunk=s.chunk,
        dtype=s.dtype,
        mesh=parts.decode_mesh,
    )


def global_array(mesh: Mesh) -> Callable[[Any], Any]:
    """Puts this process's rows of a batch on the mesh: host arrays [p, ...] -> one global array [P, ...]."""
    rows = sharding.batch_sharding(mesh)

    def put(tree: Any) -> Any:
        with jax.transfer_guard_host_to_device("allow"):  # with several processes JAX calls this transfer implicit
            return jax.tree.map(lambda x: jax.make_array_from_process_local_data(rows, np.asarray(x)), tree)

    return put

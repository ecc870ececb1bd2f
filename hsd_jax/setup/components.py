"""What a run is made of: settings of its programs, its sampler, its step, and the state before the first update."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from hsd_jax.config import Config
from hsd_jax.data.batches import Questions
from hsd_jax.data.tokenization import Tokenization
from hsd_jax.methods import row
from hsd_jax.methods.row import Method
from hsd_jax.runtime import random_keys
from hsd_jax.scoring import batch_layout
from hsd_jax.scoring.batch_layout import BatchLayout
from hsd_jax.scoring.bin_packing import Split
from hsd_jax.scoring.fused_loss import over_mesh
from hsd_jax.setup.sampling import Sampler, make_sampler
from hsd_jax.update import teacher
from hsd_jax.update.compiled import CompiledStep, compiled_step, state_shardings
from hsd_jax.update.state import StepConfig, TrainState
from models import hf, lora, sharding
from models.lora import Lora
from models.qwen3 import Params, Qwen3Config, cast
from models.scan import Compute


@dataclass(frozen=True)
class RunConfig:
    """What is fixed in a run: its settings, and the method, model, mesh and adapters that they name."""

    config: Config
    method: Method
    model: Qwen3Config
    mesh: Mesh
    lora: Lora = lora.NONE


@dataclass(frozen=True)
class RunComponents:
    """What a run is made of besides its state: `build.build_components` for real devices, `assemble` for any."""

    run: RunConfig
    questions: Questions
    sampler: Sampler
    step: CompiledStep


def assemble(
    run: RunConfig,
    texts: Tokenization,
    questions: Questions,
    *,
    processes: int,
    host: list[Any] | None = None,
) -> RunComponents:
    """The sampler of one process, on its devices (`host`), and the step of all."""
    config, s = run.config, run.config.sampling
    rows, longest = config.data.problems_per_step // processes * s.group_size, max(texts.windows.response.values())
    sampler = make_sampler(run.model, texts, s, rows=rows, longest=longest, devices=host)
    sampler = replace(sampler, scale=run.lora.scale)
    step = compiled_step(step_settings(run, texts.control_ids), step_layout(run), texts.frame, run.mesh)
    return RunComponents(run, questions, sampler, step)


def step_settings(run: RunConfig, control_ids: tuple[int, ...]) -> StepConfig:
    """What the jitted step is specialized on, besides the sizes of its rows."""
    config = run.config
    return StepConfig(
        method=run.method,
        optimizer=make_optimizer(config),
        prompt_tokens=config.data.prompt_tokens,
        context_tokens=config.data.context_tokens,
        min_peer_tokens=config.data.min_peer_tokens,
        micro_batches=config.optimizer.micro_batches,
        reference_every=config.optimizer.reference_every,
        spread=over_mesh(run.mesh, chunk=config.optimizer.loss_chunk),
        control_ids=control_ids,
    )


def step_layout(run: RunConfig) -> BatchLayout:
    """How the update lays out a step's texts."""
    config, model, mesh = run.config, run.model, run.mesh
    dtype, o = jnp.dtype(config.model.compute_dtype), config.optimizer
    steps = max(config.sampling.response_tokens, config.sampling.code_response_tokens)
    places = lora.merging(run.lora.scale, sharding.placement(model, mesh, dtype))
    how = Compute(dtype, config.model.remat, places)
    if o.layout == "padded":
        return batch_layout.padded(model, context=config.data.context_tokens, steps=steps, how=how)
    split = Split(run.method.minibatches, o.micro_batches)
    return batch_layout.packed(model, mesh, steps=steps, block=o.attention_block, split=split, how=how)


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


def initial_state(run: RunConfig, optimizer: optax.GradientTransformation) -> TrainState:
    """The state before the first update, sharded over the mesh; nothing is ever whole on one device."""
    params = hf.load_params(run.config.model.path, run.model, mesh=run.mesh)
    build = starting_from(run, optimizer)
    shardings = state_shardings(run.mesh, jax.eval_shape(build, params))
    return jax.jit(build, out_shardings=shardings)(params)


def starting_from(run: RunConfig, optimizer: optax.GradientTransformation) -> Callable[[Params], TrainState]:
    """The state before the first update as a function of the weights."""
    dtypes = dtypes_of_copies(run.config, run.method)

    def build(params: Params) -> TrainState:
        key = random_keys.start_key(run.config.seed)
        trained = lora.init(run.lora, run.model, key) if run.lora.rank else params
        of = {name: cast(params if name == "initial" else trained, dtype) for name, dtype in dtypes.items()}
        copies, memory = jax.tree.map(jnp.array, of), row.start_memory(run.method)
        return TrainState(trained, optimizer.init(trained), copies, memory, jnp.zeros((), jnp.int32))

    return build


def dtypes_of_copies(config: Config, method: Method) -> dict[str, Any]:
    """The copies of the weights that a run keeps besides the policy, and the number format of each."""
    names = teacher.names_of_copies(
        teacher=method.teacher,
        teaches=row.has_teacher(method),
        anchored=row.is_anchored(method),
        reference_every=config.optimizer.reference_every,
    )
    names = {*names, "initial"} if config.lora.rank else names
    # a copy that moves by small steps would stand still in bfloat16
    return {name: jnp.dtype(config.model.compute_dtype if name == "initial" else "float32") for name in sorted(names)}

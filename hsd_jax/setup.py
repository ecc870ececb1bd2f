"""From a config to everything a run needs; all that can be refused is refused here, before anything compiles."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding

from hsd_jax import layout, method_options, methods, sharding, teacher, token_choice
from hsd_jax.config import Config
from hsd_jax.contexts import Frame
from hsd_jax.data import stream, template, training
from hsd_jax.data.problems import Problem
from hsd_jax.data.tokens import Windows, encode
from hsd_jax.decode_layout import decode_mesh
from hsd_jax.decoding import Program
from hsd_jax.errors import InputError
from hsd_jax.fused_loss import over_mesh
from hsd_jax.layout import Layout
from hsd_jax.methods import Method
from hsd_jax.sampling_shapes import make_program
from hsd_jax.token_choice import Settings as Choice
from hsd_jax.types import Ragged
from hsd_jax.update import Settings, TrainState
from models import hf
from models.qwen3 import Params, Qwen3Config

STOP_TOKENS = ("<|im_end|>", "<|endoftext|>")


@dataclass(frozen=True)
class Texts:
    """How text becomes ids: tokenizer, chat frame, fixed pieces, windows, and the ids that end a response."""

    tokenizer: Any
    chat: template.ChatFrame
    frame: Frame
    windows: Windows
    stop_ids: tuple[int, ...]


@dataclass(frozen=True)
class Questions:
    """The training questions of every step, what their order depends on, and the held-out ones."""

    steps: grain.MapDataset[list[Problem]]
    identity: Mapping[str, Any]
    held_out: Sequence[Problem]


@dataclass(frozen=True)
class Parts:
    """Everything a run is made of besides its state."""

    config: Config
    method: Method
    model: Qwen3Config
    mesh: Mesh
    texts: Texts
    questions: Questions
    settings: Settings
    layout: Layout
    decode_mesh: Mesh
    choice: Choice


def assemble(config: Config) -> Parts:
    """Reads the model's shape, tokenizer and data, and fixes every program's settings; compiles nothing.

    Raises: InputError for anything that cannot work, naming the field.
    """
    method = method_options.resolve(config.method)
    check(config, method, jax.process_count())
    mesh = sharding.make_mesh(config.mesh.data, config.mesh.fsdp, config.mesh.tensor)
    check_mesh(config, method, mesh)
    model = Qwen3Config.from_hf(config.model.path)
    sharding.param_shardings(model, mesh)
    texts = read_texts(config, model)
    questions = read_questions(config, texts)
    settings, rows = step_settings(config, method, mesh), step_layout(config, method, model, mesh)
    s = config.sampling
    choice = token_choice.settings(temperature=s.temperature, top_p=s.top_p, top_k=s.top_k, stop_ids=texts.stop_ids)
    decoding = decode_mesh(tensor=s.tensor)
    return Parts(config, method, model, mesh, texts, questions, settings, rows, decoding, choice)


def check(config: Config, method: Method, processes: int) -> None:
    """Refuses settings that contradict each other."""
    data, sampling, optimizer = config.data, config.sampling, config.optimizer
    name = config.method.name
    least = 2 if method.reads.peer or method.policy else 1
    why = "a peer is another rollout" if method.reads.peer else "rollouts are compared within their group"
    at_least = {
        "sampling.group-size": (sampling.group_size, least, f" for {name!r} ({why})" if least == 2 else ""),
        "steps": (config.steps, 1, ""),
        "sampling.response-tokens": (sampling.response_tokens, 1, ""),
        "data.problems-per-step": (data.problems_per_step, 1, ""),
        "optimizer.micro-batches": (optimizer.micro_batches, 1, ""),
        "optimizer.attention-block": (optimizer.attention_block, 1, ""),
        "evaluation.problems": (config.evaluation.problems, 1, ""),
        "evaluation.samples": (config.evaluation.samples, 1, ""),
        "checkpoints.every": (config.checkpoints.every, 1, ""),
        "checkpoints.keep": (config.checkpoints.keep, 1, ""),
        "verifier.workers": (config.verifier.workers, 1, ""),
    }
    for field, (value, minimum, reason) in at_least.items():
        if value < minimum:
            raise InputError(f"{field} must be at least {minimum}{reason}; got {value}")
    if optimizer.learning_rate < 0 or not np.isfinite(optimizer.learning_rate):
        raise InputError(f"optimizer.learning-rate must be a finite number >= 0; got {optimizer.learning_rate}")
    if data.problems_per_step % (optimizer.micro_batches * method.minibatches * processes):
        raise InputError(
            f"data.problems-per-step ({data.problems_per_step}) must be a multiple of optimizer.micro-batches x"
            f" method.minibatches x processes ({optimizer.micro_batches} x {method.minibatches} x {processes}), since"
            " a micro-batch holds whole problems"
        )
    if method.reads.solution and not data.solution_tokens:
        raise InputError(f"data.solution-tokens is 0, but the teacher of {name!r} reads the solution; give it room")


def check_mesh(config: Config, method: Method, mesh: Mesh) -> None:
    """Refuses batches that do not divide over the devices."""
    rows = mesh.shape["data"] * mesh.shape["fsdp"]
    part = config.data.problems_per_step // config.optimizer.micro_batches // method.minibatches
    if part % rows:
        raise InputError(
            f"data.problems-per-step / optimizer.micro-batches ({part}) must be a multiple of mesh.data x mesh.fsdp"
            f" ({mesh.shape['data']} x {mesh.shape['fsdp']}), so that every device gets whole problems"
        )


def read_texts(config: Config, model: Qwen3Config) -> Texts:
    """The tokenizer of the model's directory and everything that depends on it."""
    tokenizer = read_tokenizer(config.model.path)
    if len(tokenizer) > model.vocab_size:
        raise InputError(f"model.path: the tokenizer has {len(tokenizer)} ids but the model {model.vocab_size}")
    chat = template.chat_frame(tokenizer, thinking=config.model.thinking)
    pieces = encode(tokenizer, [template.PEER_OPEN, template.PEER_CLOSE, template.CLOSING])
    frame = Frame(*(Ragged(np.array(ids, np.int32), np.int32(len(ids))) for ids in pieces))  # type: ignore[arg-type]
    data, sampling = config.data, config.sampling
    needed = data.prompt_tokens + data.answer_tokens + data.solution_tokens + sum(len(ids) for ids in pieces)
    if data.context_tokens < needed:
        raise InputError(
            f"data.context-tokens ({data.context_tokens}) must hold at least prompt, answer, solution and the fixed"
            f" texts ({needed} tokens); what is above that is for the peer"
        )
    code = sampling.code_response_tokens or sampling.response_tokens
    windows = Windows(
        prompt=data.prompt_tokens,
        answer=data.answer_tokens,
        solution=data.solution_tokens,
        response={"math": sampling.response_tokens, "code": code},
    )
    known = tokenizer.get_vocab()
    stop_ids = {known[token] for token in STOP_TOKENS if token in known} | {tokenizer.eos_token_id} - {None}
    if not stop_ids:
        raise InputError(f"model.path: the tokenizer has no end token ({', '.join(STOP_TOKENS)} or an eos_token)")
    return Texts(tokenizer, chat, frame, windows, tuple(sorted(stop_ids)))


def read_tokenizer(path: str) -> Any:
    """The tokenizer of a Hugging Face directory, from its files alone."""
    from transformers import AutoTokenizer

    if not (Path(path) / "tokenizer.json").is_file() and not (Path(path) / "vocab.json").is_file():
        raise InputError(f"model.path: {path} has no tokenizer.json; it must be a complete Hugging Face directory")
    try:
        return AutoTokenizer.from_pretrained(path, local_files_only=True)
    except (OSError, ValueError) as error:
        raise InputError(f"model.path: the tokenizer of {path} cannot be read ({error})") from error


def read_questions(config: Config, texts: Texts) -> Questions:
    """Opens the sources and fixes the order of the questions."""
    data = config.data
    corpora = training.load_all(data.source, Path(data.path) if data.path else None)
    train = training.pool(corpora, "train", texts.tokenizer, texts.chat, texts.windows)
    kinds = sorted(train.problems, reverse=True)
    weights = dict(zip(("math", "code"), data.mixture, strict=True)) if len(kinds) == 2 else {kinds[0]: 1}
    order: dict[str, Any] = {"problems_per_step": data.problems_per_step, "seed": config.seed, "weights": weights}
    steps = stream.step_batches(
        train.problems, **order, process_index=jax.process_index(), process_count=jax.process_count()
    )
    identity = stream.identity(train.problems, fingerprint=train.fingerprint, **order)
    return Questions(steps, identity, held_out(config, corpora, texts))


def held_out(config: Config, corpora: list[Any], texts: Texts) -> list[Problem]:
    """The first questions of the test split; none where the sources have no such split."""
    if not any("test" in corpus.splits for corpus in corpora):
        return []
    test = training.pool(corpora, "test", texts.tokenizer, texts.chat, texts.windows)
    rows = [part[i] for part in test.problems.values() for i in range(len(part))]
    return rows[: config.evaluation.problems]


def step_settings(config: Config, method: Method, mesh: Mesh) -> Settings:
    """What the jitted step is specialised on, besides the sizes of its rows."""
    return Settings(
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


def step_layout(config: Config, method: Method, model: Qwen3Config, mesh: Mesh) -> Layout:
    """How the update lays out a step's texts."""
    dtype, o = jnp.dtype(config.model.compute_dtype), config.optimizer
    steps = max(config.sampling.response_tokens, config.sampling.code_response_tokens)
    options = {"dtype": dtype, "remat": config.model.remat, "placement": sharding.placement(model, mesh, dtype)}
    if o.layout == "windows":
        return layout.windows(model, context=config.data.context_tokens, steps=steps, **options)
    parts = {"parts": o.micro_batches, "minibatches": method.minibatches}
    return layout.packed(model, mesh, steps=steps, block=o.attention_block, **parts, **options)


def make_optimizer(config: Config) -> optax.GradientTransformation:
    """AdamW behind a clip of the global norm. Source: arXiv:2606.15576 (all values but the clip)."""
    o = config.optimizer
    rate: Any = optax.linear_schedule(0.0, o.learning_rate, o.warmup_steps) if o.warmup_steps else o.learning_rate
    adamw = optax.adamw(rate, b1=o.b1, b2=o.b2, eps=o.eps, weight_decay=o.weight_decay)
    return optax.chain(optax.clip_by_global_norm(o.clip_norm), adamw) if o.clip_norm else adamw


def initial_state(parts: Parts) -> TrainState:
    """The state before the first update, sharded over the mesh; nothing is ever whole on one device."""
    config, method = parts.config, parts.method
    params = hf.load_params(config.model.path, parts.model, mesh=parts.mesh)
    names = teacher.names_of_copies(
        teacher=method.teacher,
        teaches=methods.has_teacher(method),
        anchored=bool(method.beta),
        reference_every=config.optimizer.reference_every,
    )
    frozen_dtype = jnp.dtype(config.model.compute_dtype)
    # a copy that moves by small steps would stand still in bfloat16
    dtypes = {name: frozen_dtype if name == "initial" else jnp.dtype("float32") for name in names}

    def build(params: Params) -> TrainState:
        copies = {name: jax.tree.map(lambda x, d=d: jnp.array(x, d), params) for name, d in dtypes.items()}
        return TrainState(
            params,
            parts.settings.optimizer.init(params),
            copies,
            methods.start_memory(parts.method),
            jnp.zeros((), jnp.int32),
        )

    shardings = state_shardings(parts.mesh, jax.eval_shape(build, params))
    return jax.jit(build, out_shardings=shardings)(params)


def state_shardings(mesh: Mesh, state: TrainState) -> TrainState:
    """Where every array of a state lies: weights and their moments by their names' axes, counters everywhere."""

    def place(path: Any, leaf: Any) -> NamedSharding:
        name = str(getattr(path[-1], "key", ""))
        return NamedSharding(mesh, sharding.spec_of(name)) if leaf.ndim else sharding.replicated(mesh)

    return jax.tree.map_with_path(place, state)


def sampler(parts: Parts, *, rows: int, response_tokens: int) -> Program:
    """The sampler's shapes for this process: `rows` rollouts at a time at the most."""
    s = parts.config.sampling
    data = parts.decode_mesh.shape["data"]
    slots = -(-min(s.slots or rows, rows) // data) * data
    return make_program(
        parts.model,
        vocabulary=len(parts.texts.tokenizer),
        pad_id=0,
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

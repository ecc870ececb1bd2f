"""Every setting and its default, once. A config file is Python that ends in `config = Config(...)`.

The text under a field is its help on the command line (`python -m hsd_jax.train --config FILE --help`).
"""

import runpy
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

from hsd_jax.errors import InputError, nearest

Remat = Literal["none", "save-matmuls", "save-attention", "full", "offload", "offload-attention"]
Dtype = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Model:
    """Which weights to start from."""

    path: str = "assets/tiny_qwen3"
    """A Hugging Face directory of a dense Qwen3, Qwen2 or Llama: config.json, tokenizer, safetensors."""
    compute_dtype: Dtype = "bfloat16"
    """Number format of activations and matrix products; master weights and losses are always float32."""
    remat: Remat = "full"
    """What the backward pass recomputes: from nothing to whole layers, or layer inputs kept in host memory."""
    thinking: bool = False
    """Ask the chat template for thinking mode, for student and teacher alike."""
    teacher_thinking: bool | None = None
    """Thinking mode of the teacher's prompts where it is not the student's."""


@dataclass(frozen=True)
class Data:
    """Where the questions come from and how many tokens their texts get."""

    source: str = "tiny"
    """Name of a source (tiny, gsm8k, jsonl, ...), or several joined by + for a mixture."""
    path: str = ""
    """Directory of the source's files; empty for generated sources."""
    fields: str = ""
    """Where the fields of jsonl rows stand, if named otherwise: question=prompt.0.content,answer=target."""
    problems_per_step: int = 128
    """P, the questions of one step, over all processes."""
    mixture: tuple[int, int] = (4, 1)
    """Math and code questions in every run of this many consecutive ones, where both are present; also held out."""
    allow_shared_questions: bool = False
    """Train even though held-out questions, or those of an evaluation set at hand, are among the training questions."""
    prompt_tokens: int = 1024
    """Window of the student's prompt; longer questions are skipped, counted and named in the log."""
    answer_tokens: int = 1024
    """Tokens for the true answer (for code: the visible tests) in the teacher's context."""
    solution_tokens: int = 0
    """Tokens for a reference solution, for the methods whose teacher reads one."""
    feedback_tokens: int = 0
    """Tokens for what the verifier says of a failed rollout, for teachers that read it; longer feedback is left out."""
    rubric_tokens: int = 0
    """Tokens for a rubric of the row, for the methods whose teacher reads one."""
    skill_bank: str = ""
    """A file of skills for the methods whose teachers read them: JSON lines with `skill`, and `mistake` to avoid."""
    skill_tokens: int = 0
    """Tokens for one of them."""
    context_tokens: int = 4096 + 2048
    """C, the window of a teacher context. What does not fit is cut from the tail of the peer, never elsewhere."""
    min_peer_tokens: int = 64
    """If less than this would remain of a longer peer, the teacher reads the answer alone."""


@dataclass(frozen=True)
class Sampling:
    """How rollouts are drawn."""

    group_size: int = 8
    """G, rollouts of each question."""
    temperature: float = 1.0
    """0 is greedy."""
    top_p: float = 0.95
    """Nucleus: keep the smallest set of likeliest tokens that holds this mass; 1 keeps all."""
    top_k: int = 0
    """Keep this many likeliest tokens; 0 keeps all."""
    response_tokens: int = 4096
    """T, the cap of a response to a math question."""
    code_response_tokens: int = 0
    """The cap of a response to a code question; 0: the same as for math."""
    slots: int = 0
    """Rows decoded at a time on this process; 0: all of them. Fewer slots are refilled as rows finish."""
    chunk: int = 64
    """Decode steps between two host syncs."""
    tensor: int = 1
    """Devices that share one decoding copy of the weights (tensor parallel)."""
    dtype: Dtype = "bfloat16"
    """Number format of the weights and the cache while decoding."""


@dataclass(frozen=True)
class Method:
    """Which row of the table of methods runs; `None` means: as the row says (docs/methods.md)."""

    name: str = "hsd"
    """A row of the table of methods (hsd_jax/methods)."""
    reads: Literal["none", "answer", "solution", "peer", "answer_and_peer", "feedback", "peer_or_feedback"] | None = (
        None
    )
    """What the teacher reads besides the question; feedback is the verifier's, on the rollout itself."""
    control: (
        Literal["other_problem", "shuffled_peer", "wrong_peer", "itself", "wrong_answer", "framing_only"] | None
    ) = None
    """What the teacher reads in place of its context, to measure what this adds (docs/methods.md)."""
    gate: Literal["all", "correct_only", "failed_only"] | None = None
    """Which rollouts are distilled among those that the method distils."""
    peer_rule: (
        Literal["uniform", "first", "shortest", "longest", "low_perplexity", "high_perplexity", "rarest", "farthest"]
        | None
    ) = None
    """Which successful rollout of the group the teacher reads; the last two, the least like the others, or like it."""
    peer_draws: Literal["coupled", "independent"] | None = None
    """At most two distinct peers in a group (cheaper), or one draw for every rollout; both are uniform."""
    fallback: bool | None = None
    """Whether a rollout without peer is distilled from the answer alone."""
    distilled: Literal["all", "failed", "with_peer"] | None = None
    """Which rollouts are distilled."""
    teacher: Literal["live", "frozen", "ema", "synced", "gated"] | None = None
    """Whose weights teach: the student's own, the initial ones, their moving average, or a copy renewed at times, by
    the clock (synced) or once reward has gained (gated)."""
    teacher_rate: float | None = None
    """How far an ema teacher moves to the student in each step."""
    teacher_every: int | None = None
    """Steps between two renewals of a synced teacher."""
    divergence: Literal["forward", "reverse", "jsd", "sampled_reverse"] | None = None
    """What is minimized at a token; forward is KL(teacher || student), the paper's formula."""
    top_k: int | None = None
    """Measure that divergence on the student's likeliest tokens and one bucket for all others; 0: on all."""
    clip: Literal["none", "token", "pointwise"] | None = None
    """Cut the divergence at a token, or each vocabulary entry's share of it (forward only), at `clip-at`."""
    clip_at: float | None = None
    """Where it is cut, in nats."""
    advantage: Literal["std", "centered"] | None = None
    """How rewards are compared within a group."""
    normalize: Literal["sequence_mean", "token_mean", "constant"] | None = None
    """What a token's loss is divided by."""
    beta: float | None = None
    """Weight of the KL to the reference policy."""
    reference_kl: Literal["full", "k1", "k2", "k3"] | None = None
    """How that KL is measured: exactly over the vocabulary, or by one of the usual one-sample estimates."""
    coefficient: float | None = None
    """Share of distillation in a hybrid of distillation and policy gradient."""
    minibatches: int | None = None
    """Updates per batch of rollouts."""
    old_policy: Literal["trainer", "sampler"] | None = None
    """What ratios are taken to: the policy as the trainer scores it before a batch's first update, or the sampler's
    own log-probabilities, which corrects for the difference between the two."""
    attempts: int | None = None
    """Batches of questions sampled at the most until every group has unequal rewards; 1 takes what comes."""
    mask_truncated: bool | None = None
    """Leave rollouts that hit the cap out of the loss."""
    skip_tokens: int | None = None
    """First tokens of every response that are left out of the loss."""
    horizon: float | None = None
    """Only this many tokens of every response are in the loss; below 1 a share of the window; 0: all."""
    horizon_every: int | None = None
    """Updates after which the horizon grows by itself again and again; 0: it stays."""
    horizon_stops: bool | None = None
    """Also end sampling at the horizon: cheaper, but rewards of responses that are cut say nothing."""
    overlap: int | None = None
    """Measure how far the likeliest tokens of student and teacher, this many, are the same ones; 0: not at all."""


@dataclass(frozen=True)
class Optimizer:
    """AdamW at a constant learning rate."""

    learning_rate: float = 1e-6
    """Constant after the warm-up."""
    warmup_steps: int = 0
    """Steps of linear warm-up."""
    b1: float = 0.9
    """Decay of the first moment."""
    b2: float = 0.95
    """Decay of the second moment."""
    eps: float = 1e-8
    """Added to the root of the second moment."""
    weight_decay: float = 0.0
    """Decoupled weight decay."""
    clip_norm: float = 1.0
    """Global gradient norm above which gradients are scaled down; 0 never clips."""
    micro_batches: int = 1
    """Parts of whole problems into which a step is split; the result does not depend on it."""
    loss_chunk: int = 256
    """Tokens of every chip whose logits exist at the same time."""
    layout: Literal["packed", "padded"] = "packed"
    """A step's texts packed into rows by their lengths, or each in a window of its cap (short texts only)."""
    attention_block: int = 512
    """Tokens of a block of attention in packed rows; smaller for short texts. TPUs want multiples of 128."""
    reference_every: int = 0
    """Steps between two moves of the reference towards the policy (moving average .99); 0: never."""


@dataclass(frozen=True)
class Lora:
    """Adapters of low rank that train in place of the weights (docs/lora.md)."""

    rank: int = 0
    """Rank of the adapters; 0: there are none and all weights train."""
    alpha: float = 32.0
    """What an adapter adds counts alpha / rank times."""
    targets: str = "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj"
    """The projections that get one, in every layer: some of these, joined by commas."""


@dataclass(frozen=True)
class Mesh:
    """How devices are arranged; -1 takes what the other axes leave."""

    data: int = 1
    """Copies of the parameters."""
    fsdp: int = -1
    """Devices that share the parameters, each with other problems."""
    tensor: int = 1
    """Devices that share heads and mlp of every layer."""


@dataclass(frozen=True)
class Evaluation:
    """Held-out pass@k while training."""

    every: int = 50
    """Steps between evaluations; 0: only before and after."""
    problems: int = 128
    """Held-out questions."""
    samples: int = 4
    """Sampled answers to each: pass@1, from 4 on pass@4, from 16 on pass@16. One greedy answer is drawn besides."""
    temperature: float = 1.0
    """Temperature of the sampled answers."""
    top_p: float = 1.0
    """Nucleus of the sampled answers."""


@dataclass(frozen=True)
class Checkpoints:
    """What is kept of a run."""

    every: int = 50
    """Steps between checkpoints; one is always written at the end."""
    every_minutes: float = 0.0
    """Also write one after the step in which the last has become this old; 0: by steps alone."""
    keep: int = 2
    """Newest checkpoints that are kept, besides the best by held-out pass@1 of those whose step was evaluated."""
    keep_every: int = 0
    """Also keep every checkpoint whose step is a multiple of this; 0: none."""


@dataclass(frozen=True)
class Logging:
    """What is written down."""

    rollouts_every: int = 10
    """Steps between two entries of the rollout log (texts, peers, credit); 0: none."""
    rollout_problems: int = 8
    """Questions in an entry."""
    tensorboard: bool = True
    """Write TensorBoard event files under the workdir."""
    wandb: str = ""
    """Weights & Biases project to log to; empty: nothing is sent anywhere."""
    profile_steps: str = ""
    """Steps to trace for xprof, as first:last (3:5); empty: none. Traces go to `profile/` in the workdir."""


@dataclass(frozen=True)
class Verifier:
    """How responses are graded."""

    function: str = ""
    """A reward function of your own, as package.module:function; empty: the verifiers of math and programs."""
    workers: int = 2
    """Grading processes on each host."""
    seconds: float = 5.0
    """Hard limit of one math check, or of one call of `function`."""
    test_seconds: float = 10.0
    """Hard limit of one test of a program."""
    check_seconds: float = 60.0
    """Hard limit of all tests of one program together."""
    tolerance: float = 1e-9
    """How far, relative to it, a number may be from an expected decimal; expected integers are exact."""
    allow_unsandboxed: bool = False
    """Run model-written programs without any sandbox. Never do this on a machine you care about."""


@dataclass(frozen=True)
class Guards:
    """When a run warns or stops by itself."""

    nonfinite_updates: int = 3
    """Skipped updates (loss or gradient not finite) in a row after which the run stops."""
    stop_on_collapse: bool = False
    """Stop, not only warn, when repetition, length or the KL to the reference says that the policy collapses."""


@dataclass(frozen=True)
class Config:
    """All settings of a run."""

    steps: int = 1500
    """Updates."""
    seed: int = 0
    """Addresses all randomness together with step and question id."""
    model: Model = field(default_factory=Model)
    data: Data = field(default_factory=Data)
    sampling: Sampling = field(default_factory=Sampling)
    method: Method = field(default_factory=Method)
    optimizer: Optimizer = field(default_factory=Optimizer)
    lora: Lora = field(default_factory=Lora)
    mesh: Mesh = field(default_factory=Mesh)
    evaluation: Evaluation = field(default_factory=Evaluation)
    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    logging: Logging = field(default_factory=Logging)
    verifier: Verifier = field(default_factory=Verifier)
    guards: Guards = field(default_factory=Guards)


SECTIONS = (
    *(Model, Data, Sampling, Method, Optimizer, Lora, Mesh, Evaluation),
    *(Checkpoints, Logging, Verifier, Guards, Config),
)


def load(path: str | Path) -> Config:
    """Runs a config file and returns its `config`.

    Raises: InputError if the file is missing, fails, has no `config`, or sets an unknown field.
    """
    if not Path(path).is_file():
        raise InputError(f"--config: no file {str(path)!r}; the shipped ones are in configs/")
    try:
        config = runpy.run_path(str(path)).get("config")
    except TypeError as error:
        raise InputError(f"--config {path}: {_explain(str(error))}") from error
    except (Exception, SystemExit) as error:  # the file is the user's program and may fail in any way
        raise InputError(f"--config {path}: {type(error).__name__}: {error}") from error
    if not isinstance(config, Config):
        raise InputError(f"--config {path}: must end in `config = Config(...)`; got {type(config).__name__}")
    return config


def _explain(message: str) -> str:
    for section in SECTIONS:
        if message.startswith(f"{section.__name__}.__init__() got an unexpected keyword argument"):
            name, valid = message.split("'")[1], [f.name for f in fields(section)]
            return f"{section.__name__} has no field {name!r}; the nearest is {nearest(name, valid)!r} (of {valid})"
    return message

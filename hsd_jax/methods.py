"""The table of methods: what the teacher reads, whose weights teach, who gets credit, what is minimized at a token.

The step knows nothing of any method; it runs the functions of a row. `python -m hsd_jax.train` prints the row that a
run resolves to, and docs/methods.md shows how to add one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import jax.numpy as jnp

from hsd_jax import advantages, losses
from hsd_jax.contexts import Reads
from hsd_jax.divergence import jsd_logp
from hsd_jax.losses import TokenLoss
from hsd_jax.types import Array

Memory = Mapping[str, Array]


@dataclass(frozen=True)
class Stream:
    """Log-probabilities a loss may look at: whose `weights` ("teacher" or "reference") read which context."""

    weights: str
    privileged: bool


STREAMS: dict[str, Stream] = {
    "teacher": Stream("teacher", privileged=True),
    "anchor": Stream("teacher", privileged=False),
    "reference": Stream("reference", privileged=False),
}


def forget(memory: Memory, teacher_entropy: Array) -> Memory:
    """Methods without memory remember nothing."""
    return memory


def no_memory(step: Array, memory: Memory) -> Array:
    """A strength of 1, always."""
    return advantages.steady(step)


@dataclass(frozen=True)
class Method:
    """A row of the table.

    The loss is distill * divergence + policy * policy_loss + beta * reference_kl at a token. `streams` are those that
    divergence and policy_loss look at. `old_policy` says what ratios p / p_old are taken to: "trainer", the policy as
    the trainer scores it before the first update of the batch; "sampler", the log-probabilities noted while sampling
    (importance correction); "none" where there is no ratio. `minibatches` are updates per batch; `attempts` is how many
    batches of questions are sampled at the most until all groups have unequal rewards (1: take what comes). `memory`
    and `remember` are a few scalars that are carried from step to step for `strength`.
    """

    source: str
    reads: Reads = Reads()
    streams: tuple[str, ...] = ()
    distill: float = 0.0
    policy: float = 0.0
    beta: float = 1e-3
    divergence: TokenLoss = losses.forward
    policy_loss: TokenLoss = losses.policy_gradient(0.2, 0.2)
    reference_kl: TokenLoss = losses.full_kl
    distilled: Callable[[Array, Array], Array] = advantages.all_rollouts
    shaping: Callable[[Array, Array, Array], Array] = advantages.plain_rewards
    advantage: Callable[[Array], Array] = advantages.no_advantage
    normalize: Callable[[Array], Array] = advantages.sequence_mean
    strength: Callable[[Array, Memory], Array] = no_memory
    remember: Callable[[Memory, Array], Memory] = forget
    memory: tuple[tuple[str, float], ...] = ()
    rollout_ratio: Callable[[Callable[[], Array], Array, Array], Array] = advantages.no_rollout_ratio
    old_policy: str = "none"
    peer_rule: str = "uniform"
    peer_draws: str = "coupled"
    teacher: str = "live"
    teacher_rate: float = 0.05
    teacher_every: int = 20
    minibatches: int = 1
    attempts: int = 1
    mask_truncated: bool = False
    skip_tokens: int = 0
    horizon: int = 0
    horizon_every: int = 0


# --- the paper's methods

HSD = Method("arXiv:2606.15576", reads=Reads(answer=True, peer=True), streams=("teacher",), distill=1.0)
GRPO = Method("arXiv:2402.03300", policy=1.0, advantage=advantages.standardized, old_policy="trainer")
OPSD = replace(HSD, source="arXiv:2601.18734, as run by arXiv:2606.15576", reads=Reads(answer=True))


def rlsd_strength(step: Array, memory: Memory) -> Array:
    """0.5, fading to 0 over 50 updates."""
    return advantages.fading(0.5, 50)(step)


# --- methods from outside the paper, each a row and, where it needs one, a loss and a schedule


def rlrt_strength(step: Array, memory: Memory) -> Array:
    """0.5, without decay."""
    return jnp.full((), 0.5)


def antisd_strength(step: Array, memory: Memory) -> Array:
    """0 for 5 updates, then 0.5 while the gate is open."""
    return advantages.after_warmup(0.5, 5)(step) * memory["open"]


def antisd_gate(memory: Memory, teacher_entropy: Array) -> Memory:
    """Closes where the teacher's median entropy falls below 0.93 of what it was at first, opens at that value again."""
    warm = jnp.where(memory["updates"] < 5, teacher_entropy, memory["warm"])
    closed, opened = teacher_entropy < 0.93 * warm, teacher_entropy >= warm
    is_open = jnp.where(closed, 0.0, jnp.where(opened, 1.0, memory["open"]))
    return {"open": is_open, "warm": warm, "updates": memory["updates"] + 1}


METHODS: dict[str, Method] = {
    "hsd": HSD,
    "opsd": OPSD,
    "opsd_official": replace(
        OPSD,
        source="arXiv:2601.18734, released code (v3)",
        reads=Reads(solution=True),
        divergence=losses.distillation(losses.tempered(losses.pointwise_clipped_kl(0.06), 1.1)),
        normalize=advantages.token_mean,
        teacher="frozen",
        beta=0.0,
    ),
    "sdpo": replace(
        HSD,
        source="arXiv:2601.20802",
        reads=Reads(peer=True),
        divergence=losses.with_importance(
            losses.distillation(losses.top_k_with_tail(partial(jsd_logp, alpha=0.5), 100))
        ),
        distilled=advantages.with_peer,
        normalize=advantages.token_mean,
        old_policy="sampler",
        peer_rule="first",
        teacher="ema",
    ),
    "rlsd": replace(
        GRPO,
        source="arXiv:2604.03128",
        reads=Reads(answer=True),
        streams=("teacher",),
        policy_loss=losses.policy_gradient(0.2, 0.28, losses.teacher_reweighted_advantage(1.0, 0.2)),
        normalize=advantages.token_mean,
        strength=rlsd_strength,
        teacher="synced",
    ),
    "sdft": replace(
        HSD,
        source="arXiv:2601.19897",
        reads=Reads(solution=True),
        divergence=losses.with_rollout_importance(losses.forward),
        rollout_ratio=advantages.mean_clipped_ratio,
        old_policy="sampler",
        teacher="ema",
        teacher_rate=0.01,
        skip_tokens=3,
    ),
    "grpo": GRPO,
    "dr_grpo": replace(GRPO, source="arXiv:2503.20783", advantage=advantages.centered, normalize=advantages.constant),
    "gspo": replace(
        GRPO,
        source="arXiv:2507.18071",
        policy_loss=losses.sequence_policy_gradient(3e-4, 4e-4),
        rollout_ratio=advantages.mean_rollout_ratio,
        minibatches=4,
    ),
    "dapo": replace(
        GRPO,
        source="arXiv:2503.14476",
        policy_loss=losses.policy_gradient(0.2, 0.28),
        shaping=advantages.soft_overlong,
        normalize=advantages.token_mean,
        attempts=10,
    ),
    "grpo_opsd": replace(
        OPSD,
        source="arXiv:2606.15576, Table 1",
        distill=0.5,
        policy=0.5,
        advantage=advantages.standardized,
        old_policy="trainer",
    ),
    "rlrt": replace(
        GRPO,
        source="arXiv:2605.10781",
        reads=Reads(peer=True),
        streams=("teacher",),
        policy_loss=losses.policy_gradient(0.2, 0.28, losses.teacher_reweighted_advantage(-1.0, 1.0)),
        distilled=advantages.successful_with_peer,
        normalize=advantages.token_mean,
        strength=rlrt_strength,
        beta=0.0,
    ),
    "antisd": replace(
        GRPO,
        source="arXiv:2605.11609",
        reads=Reads(peer=True),
        streams=("teacher",),
        policy_loss=losses.policy_gradient(0.2, 0.2, losses.antisd_advantage),
        distilled=advantages.with_peer,
        strength=antisd_strength,
        remember=antisd_gate,
        memory=(("open", 1.0), ("warm", 0.0), ("updates", 0.0)),
        beta=0.0,
    ),
    "demopsd": replace(
        HSD,
        source="arXiv:2607.02502",
        reads=Reads(peer=True),
        streams=("teacher", "anchor"),
        divergence=losses.mixture_kl(0.15, 50.0),
        distilled=advantages.with_peer,
        normalize=advantages.token_mean,
        old_policy="sampler",
        teacher="ema",
        beta=0.0,
    ),
}


def token_loss(method: Method) -> TokenLoss:
    """The whole loss at a token: distillation, policy gradient and KL to the reference with their weights."""
    terms = [
        (method.distill, method.divergence),
        (method.policy, method.policy_loss),
        (method.beta, method.reference_kl),
    ]
    return losses.weighted(tuple((weight, loss) for weight, loss in terms if weight))


def streams(method: Method) -> dict[str, Stream]:
    """The frozen streams that the method's loss looks at, the reference among them where it counts."""
    names = (*method.streams, "reference") if method.beta else method.streams
    return {name: STREAMS[name] for name in names}


def has_teacher(method: Method) -> bool:
    """Whether a teacher is scored at all."""
    return "teacher" in method.streams


def is_on_policy(method: Method) -> bool:
    """Whether p_old is the student at the very update: one update per batch, and ratios to the trainer's policy."""
    return method.old_policy == "trainer" and method.minibatches == 1


def is_scored_beforehand(method: Method) -> bool:
    """Whether p_old has to be scored before the first of several updates."""
    return method.old_policy == "trainer" and method.minibatches > 1


def start_memory(method: Method) -> dict[str, Array]:
    """What the method remembers before the first update."""
    return {name: jnp.asarray(value, jnp.float32) for name, value in method.memory}

"""What a method is: what its views read, whose weights teach, who gets credit, what is minimized at a token."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax.numpy as jnp

from hsd_jax import advantages, losses
from hsd_jax.losses import Shares, TokenLoss
from hsd_jax.reading.further_rows import FurtherRow
from hsd_jax.reading.pieces import STUDENT, Attempts, Piece, Reads, Text, attempts, content, privileged
from hsd_jax.types import Array

Memory = Mapping[str, Array]
Seen = Mapping[str, Array]  # "reward" and "teacher_entropy" of a step, "length": the 95th percentile of its responses
Distilled = Callable[[Array, Array, Array], Array]  # see `advantages`


@dataclass(frozen=True)
class View:
    """Log-probabilities a loss may look at: whose `weights` ("teacher" or "reference"), and what they read."""

    weights: str
    reads: Reads


Views = tuple[tuple[str, View], ...]

BLOCKS = ("prefix", "answer", "solution", "feedback", "wrong_answer")  # of every problem
ANCHOR = ("anchor", View("teacher", STUDENT))
REFERENCE = ("reference", View("reference", STUDENT))


def teacher_reads(*pieces: Piece) -> Views:
    """The teacher's weights after the question and these pieces."""
    return (("teacher", View("teacher", privileged(*pieces))),)


def forget(memory: Memory, seen: Seen) -> Memory:
    """Methods without memory remember nothing."""
    return memory


def no_memory(step: Array, memory: Memory) -> Array:
    """A strength of 1, always."""
    return advantages.steady(step)


@dataclass(frozen=True)
class Method:
    """A row of the table.

    The loss is distill * divergence + policy * policy_loss + beta * reference_kl at a token. `views` are those that
    divergence and policy_loss look at, by the name under which they do; the first one is the teacher's. `gate` leaves
    out more of those that are `distilled`; `shares` are what tokens count for by their whole rollout. `old_policy` says
    what ratios p / p_old are taken to: "trainer", the policy as the trainer scores it before the first update of the
    batch; "sampler", the log-probabilities noted while sampling (importance correction); "none" where there is no
    ratio. `minibatches` are updates per batch; `attempts` is how many batches of questions are sampled at most until
    all groups have unequal rewards (1: take what comes). `memory` and `remember` are a few scalars that are carried
    from step to step for `strength`. Only tokens before the `horizon` are in the loss (`advantages.reach`); where it
    stops, none is sampled behind it either. `overlap` is of how many likeliest tokens the overlap of student and
    teacher is measured (0: it is not). `rows` are texts that nobody sampled and that join each group with a loss and
    a weight of their own; no statistic of rollouts counts them. The memory's "renew" renews a "gated" teacher.
    """

    source: str
    views: Views = ()
    distill: float = 0.0
    policy: float = 0.0
    beta: float = 1e-3
    divergence: TokenLoss = losses.forward
    policy_loss: TokenLoss = losses.policy_gradient(0.2, 0.2)
    reference_kl: TokenLoss = losses.full_kl
    distilled: Distilled = advantages.all_rollouts
    gate: Callable[[Array], Array] = advantages.whoever
    shaping: Callable[[Array, Array, Array], Array] = advantages.plain_rewards
    advantage: Callable[[Array], Array] = advantages.no_advantage
    normalize: Callable[[Array], Array] = advantages.sequence_mean
    strength: Callable[[Array, Memory], Array] = no_memory
    remember: Callable[[Memory, Seen], Memory] = forget
    memory: tuple[tuple[str, float], ...] = ()
    rollout_ratio: Callable[[Callable[[], Array], Array, Array], Array] = advantages.no_rollout_ratio
    old_policy: str = "none"
    teacher: str = "live"
    teacher_rate: float = 0.05
    teacher_every: int = 20
    minibatches: int = 1
    attempts: int = 1
    shares: Shares | None = None
    rows: tuple[FurtherRow, ...] = ()
    row_loss: TokenLoss = losses.cross_entropy
    row_weight: float = 1.0
    mask_truncated: bool = False
    skip_tokens: int = 0
    horizon: float = 0
    horizon_every: int = 0
    horizon_stops: bool = False
    overlap: int = 0


def token_loss(method: Method) -> TokenLoss:
    """The whole loss at a token: distillation, policy gradient and KL to the reference with their weights."""
    terms = [
        (method.distill, method.divergence),
        (method.policy, method.policy_loss),
        (method.beta, method.reference_kl),
    ]
    loss = losses.weighted(tuple((weight, loss) for weight, loss in terms if weight))
    return losses.apart(loss, method.row_loss) if method.rows else loss


def views(method: Method) -> dict[str, View]:
    """The views that the method's loss looks at, the reference among them where it counts."""
    return dict((*method.views, REFERENCE) if method.beta else method.views)


def readings(method: Method) -> list[Reads]:
    """What the views read besides the question, each once, the teacher's first."""
    return list(dict.fromkeys(view.reads for view in views(method).values() if view.reads != STUDENT))


def pieces(method: Method) -> list[Piece]:
    """Everything that some view reads besides the question."""
    return [piece for reads in readings(method) for piece in content(reads)]


def further_texts(method: Method) -> tuple[str, ...]:
    """The names of the texts that it needs besides those that every problem comes with (`Problems.further`)."""
    blocks = [piece.block for piece in pieces(method) if isinstance(piece, Text) and piece.block not in BLOCKS]
    return tuple(dict.fromkeys([*blocks, *(name for row in method.rows for name in row.texts)]))


def peer_of(method: Method) -> Attempts | None:
    """The first set of the group's rollouts that the teacher reads; None where it reads none."""
    drawn = [piece for reads in readings(method)[:1] for piece in attempts(reads) if piece.is_drawn]
    return drawn[0] if drawn else None


def is_anchored(method: Method) -> bool:
    """Whether some view is of the reference's weights."""
    return any(view.weights == "reference" for view in views(method).values())


def has_teacher(method: Method) -> bool:
    """Whether a teacher is scored at all."""
    return bool(method.views)


def is_on_policy(method: Method) -> bool:
    """Whether p_old is the student at the very update: one update per batch, and ratios to the trainer's policy."""
    return method.old_policy == "trainer" and method.minibatches == 1


def is_scored_beforehand(method: Method) -> bool:
    """Whether p_old has to be scored before the first of several updates."""
    return method.old_policy == "trainer" and method.minibatches > 1


def start_memory(method: Method) -> dict[str, Array]:
    """What the method remembers before the first update."""
    return {name: jnp.asarray(value, jnp.float32) for name, value in method.memory}

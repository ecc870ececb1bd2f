"""The table of methods: what the teacher reads, whose weights teach, who gets credit, what is minimised at a token.

The step knows nothing of any method; it runs the functions of a row. `python -m hsd_jax.train` prints the row that a
run resolves to, and docs/methods.md shows how to add one.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import jax.numpy as jnp

from hsd_jax import config, losses
from hsd_jax.contexts import Reads
from hsd_jax.divergence import jsd_logp, reverse_kl_logp
from hsd_jax.errors import InputError
from hsd_jax.losses import TokenLoss
from hsd_jax.types import Array

# --- who is distilled: (success_PG, kept_PG) -> bool [P, G]; kept = its teacher reads a peer


def all_rollouts(success_PG: Array, kept_PG: Array) -> Array:
    """Every rollout, as Eq. 10 sums them."""
    return jnp.ones_like(success_PG)


def failed(success_PG: Array, kept_PG: Array) -> Array:
    """Failed rollouts alone. Source: arXiv:2604.02288."""
    return ~success_PG


def with_peer(success_PG: Array, kept_PG: Array) -> Array:
    """Rollouts whose teacher reads a peer: no endpoint fallback."""
    return kept_PG


# --- advantages: rewards_PG -> advantages_PG


def no_advantage(rewards_PG: Array) -> Array:
    """Rewards do not weigh tokens."""
    return jnp.zeros_like(rewards_PG)


def standardised(rewards_PG: Array) -> Array:
    """(R - mean) / (sample std + 1e-6) over the group; 0 where all rewards are equal. Source: arXiv:2402.03300."""
    centred_PG = rewards_PG - jnp.mean(rewards_PG, axis=1, keepdims=True)
    group = rewards_PG.shape[1]
    std_P1 = jnp.sqrt(jnp.sum(jnp.square(centred_PG), axis=1, keepdims=True) / max(group - 1, 1))
    return centred_PG / (std_P1 + 1e-6)


def centred(rewards_PG: Array) -> Array:
    """R - mean over the group. Source: arXiv:2503.20783."""
    return rewards_PG - jnp.mean(rewards_PG, axis=1, keepdims=True)


# --- normalisation: (valid_PGT, response window) -> weights_PGT before the division by the number of rollouts


def sequence_mean(valid_PGT: Array, limit: int) -> Array:
    """1 / |o_i| at every token of o_i, over the number of rollouts of the global batch."""
    length_PG1 = jnp.sum(valid_PGT, axis=2, keepdims=True)
    return valid_PGT / jnp.maximum(length_PG1, 1) / (valid_PGT.shape[0] * valid_PGT.shape[1])


def token_mean(valid_PGT: Array, limit: int) -> Array:
    """One over the number of tokens of the global batch."""
    return valid_PGT / jnp.maximum(jnp.sum(valid_PGT), 1)


def constant(valid_PGT: Array, limit: int) -> Array:
    """One over the number of rollouts times the longest response allowed. Source: arXiv:2503.20783."""
    return valid_PGT / (valid_PGT.shape[0] * valid_PGT.shape[1] * limit)


@dataclass(frozen=True)
class Method:
    """A row of the table. `distil` and `policy` weigh the two parts of the loss, `beta` the KL to the reference."""

    source: str
    reads: Reads = Reads()
    distil: float = 0.0
    policy: float = 0.0
    beta: float = 1e-3
    divergence: TokenLoss = losses.forward
    policy_loss: TokenLoss = losses.policy_gradient(0.2, 0.2)
    reference_kl: TokenLoss = losses.full_kl
    distilled: Callable[[Array, Array], Array] = all_rollouts
    advantage: Callable[[Array], Array] = no_advantage
    normalise: Callable[[Array, int], Array] = sequence_mean
    peer_rule: str = "uniform"
    peer_draws: str = "coupled"
    teacher: str = "live"
    teacher_rate: float = 0.05
    teacher_every: int = 20
    mask_truncated: bool = False
    skip_tokens: int = 0
    horizon: int = 0


HSD = Method("arXiv:2606.15576", reads=Reads(answer=True, peer=True), distil=1.0)
GRPO = Method("arXiv:2402.03300", policy=1.0, advantage=standardised)

METHODS: dict[str, Method] = {
    "hsd": HSD,
    "opsd": replace(HSD, source="arXiv:2601.18734, as run by arXiv:2606.15576", reads=Reads(answer=True)),
    "grpo": GRPO,
}

DIVERGENCES: dict[str, TokenLoss] = {
    "forward": losses.forward,
    "reverse": losses.distillation(reverse_kl_logp),
    "jsd": losses.distillation(partial(jsd_logp, alpha=0.5)),
    "sampled_reverse": losses.sampled_reverse,
}
REFERENCE_KLS: dict[str, TokenLoss] = {"full": losses.full_kl, "k1": losses.k1, "k2": losses.k2, "k3": losses.k3}
DISTILLED = {"all": all_rollouts, "failed": failed, "with_peer": with_peer}
PEER_RULES = {"shortest": "lowest", "low_perplexity": "lowest", "high_perplexity": "highest"}


def resolve(settings: config.Method) -> Method:
    """The row that a config names, with the config's changes.

    Raises: InputError for an unknown method or a change that has no effect on it.
    """
    if settings.name not in METHODS:
        nearest = difflib.get_close_matches(settings.name, METHODS, 1, 0.0)[0]
        raise InputError(
            f"method.name: no method {settings.name!r}; the nearest is {nearest!r} (of {', '.join(METHODS)})"
        )
    row = METHODS[settings.name]
    changes = {f.name: getattr(settings, f.name) for f in fields(settings) if f.name != "name"}
    changes = {name: value for name, value in changes.items() if value is not None}
    _refuse_idle(settings.name, row, changes)
    return replace(row, **_as_fields(row, changes))


def _as_fields(row: Method, changes: dict[str, Any]) -> dict[str, Any]:
    tables = {"divergence": DIVERGENCES, "reference_kl": REFERENCE_KLS}
    out = {name: tables[name][value] if name in tables else value for name, value in changes.items()}
    if "distill" in out:
        out["distilled"] = DISTILLED[out.pop("distill")]
    if out.pop("fallback", True) is False:
        out["distilled"] = with_peer
    if "coefficient" in out:
        share = out.pop("coefficient")
        out |= {"distil": share, "policy": 1 - share}
    return out


def _refuse_idle(name: str, row: Method, changes: dict[str, Any]) -> None:
    of_peers = [c for c in ("peer_rule", "peer_draws", "fallback") if c in changes and not row.reads.peer]
    of_teacher = [c for c in ("teacher", "divergence", "distill") if c in changes and not row.distil]
    of_hybrid = [c for c in ("coefficient",) if c in changes and not (row.distil and row.policy)]
    for option in of_peers + of_teacher + of_hybrid:
        raise InputError(f"method.{option.replace('_', '-')}: has no effect on {name!r}; leave it out")


def token_loss(method: Method) -> TokenLoss:
    """The whole loss at a token: distillation, policy gradient and KL to the reference with their weights."""
    terms = [
        (method.distil, method.divergence),
        (method.policy, method.policy_loss),
        (method.beta, method.reference_kl),
    ]
    return losses.weighted(tuple((weight, loss) for weight, loss in terms if weight))


def reads_teacher(method: Method) -> bool:
    """Whether a teacher is scored at all."""
    return bool(method.distil)


def describe(method: Method) -> dict[str, str]:
    """The row in words, as runs print it."""

    def word(value: Any) -> str:
        if callable(value):
            tables = DIVERGENCES | REFERENCE_KLS
            return next((k for k, v in tables.items() if v is value), getattr(value, "__name__", "own"))
        if isinstance(value, Reads):
            return " + ".join(f.name for f in fields(value) if getattr(value, f.name)) or "nothing"
        return str(value)

    return {f.name: word(getattr(method, f.name)) for f in fields(method)}

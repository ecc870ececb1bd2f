"""Policy gradients whose advantage a teacher weighs, token by token."""

from dataclasses import replace

import jax.numpy as jnp

from hsd_jax import advantages, losses, shares, targets
from hsd_jax.methods.paper import GRPO
from hsd_jax.methods.row import Memory, Method, Seen, teacher_reads
from hsd_jax.reading.pieces import ANSWER, PEER
from hsd_jax.types import Array


def rlrt_strength(step: Array, memory: Memory) -> Array:
    """0.5, without decay."""
    return jnp.full((), 0.5)


def antisd_strength(step: Array, memory: Memory) -> Array:
    """0 for 5 updates, then 0.5 while the gate is open."""
    return advantages.after_warmup(0.5, 5)(step) * memory["open"]


def antisd_gate(memory: Memory, seen: Seen) -> Memory:
    """Closes where the teacher's median entropy falls below 0.93 of what it was at first, opens at that value again."""
    teacher_entropy = seen["teacher_entropy"]
    warm = jnp.where(memory["updates"] < 5, teacher_entropy, memory["warm"])
    closed, opened = teacher_entropy < 0.93 * warm, teacher_entropy >= warm
    is_open = jnp.where(closed, 0.0, jnp.where(opened, 1.0, memory["open"]))
    return {"open": is_open, "warm": warm, "updates": memory["updates"] + 1}


EGRSD = replace(
    GRPO,
    source="arXiv:2605.13255 (our reading)",
    views=teacher_reads(ANSWER),
    policy_loss=losses.policy_gradient(0.2, 0.28, targets.gated_by_entropy(0.2, 0.2)),
    normalize=advantages.token_mean,
    teacher="synced",
    beta=0.0,
)

WEIGHING: dict[str, Method] = {
    "egrsd": EGRSD,
    "cl_egrsd": replace(EGRSD, shares=shares.look_ahead(4)),
    "rlrt": replace(
        GRPO,
        source="arXiv:2605.10781",
        views=teacher_reads(PEER),
        policy_loss=losses.policy_gradient(0.2, 0.28, losses.teacher_reweighted_advantage(-1.0, 1.0)),
        distilled=advantages.successful_with_peer,
        normalize=advantages.token_mean,
        strength=rlrt_strength,
        beta=0.0,
    ),
    "antisd": replace(
        GRPO,
        source="arXiv:2605.11609",
        views=teacher_reads(PEER),
        policy_loss=losses.policy_gradient(0.2, 0.2, losses.antisd_advantage),
        distilled=advantages.with_peer,
        strength=antisd_strength,
        remember=antisd_gate,
        memory=(("open", 1.0), ("warm", 0.0), ("updates", 0.0)),
        beta=0.0,
    ),
}

"""The paper's methods and those that it is compared with."""

from dataclasses import replace
from functools import partial

from hsd_jax import advantages, losses
from hsd_jax.divergence import jsd_logp
from hsd_jax.methods.row import Memory, Method, teacher_reads
from hsd_jax.reading.pieces import ANSWER, PEER, SOLUTION
from hsd_jax.types import Array

HSD = Method("arXiv:2606.15576", views=teacher_reads(ANSWER, PEER), distill=1.0)
GRPO = Method("arXiv:2402.03300", policy=1.0, advantage=advantages.standardized, old_policy="trainer")
OPSD = replace(HSD, source="arXiv:2601.18734, as run by arXiv:2606.15576", views=teacher_reads(ANSWER))


def rlsd_strength(step: Array, memory: Memory) -> Array:
    """0.5, fading to 0 over 50 updates."""
    return advantages.fading(0.5, 50)(step)


PAPER: dict[str, Method] = {
    "hsd": HSD,
    "opsd": OPSD,
    "opsd_official": replace(
        OPSD,
        source="arXiv:2601.18734, released code (v3)",
        views=teacher_reads(SOLUTION),
        divergence=losses.distillation(losses.tempered(losses.pointwise_clipped_kl(0.06), 1.1)),
        normalize=advantages.token_mean,
        teacher="frozen",
        beta=0.0,
    ),
    "sdpo": replace(
        HSD,
        source="arXiv:2601.20802",
        views=teacher_reads(replace(PEER, rule="first")),
        divergence=losses.with_importance(
            losses.distillation(losses.top_k_with_tail(partial(jsd_logp, alpha=0.5), 100))
        ),
        distilled=advantages.with_peer,
        normalize=advantages.token_mean,
        old_policy="sampler",
        teacher="ema",
    ),
    "rlsd": replace(
        GRPO,
        source="arXiv:2604.03128",
        views=teacher_reads(ANSWER),
        policy_loss=losses.policy_gradient(0.2, 0.28, losses.teacher_reweighted_advantage(1.0, 0.2)),
        normalize=advantages.token_mean,
        strength=rlsd_strength,
        teacher="synced",
    ),
    "sdft": replace(
        HSD,
        source="arXiv:2601.19897",
        views=teacher_reads(SOLUTION),
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
}

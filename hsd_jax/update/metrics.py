"""What is logged about every step, computed on the device from the step's own numbers.

The list follows the known ways in which self-distillation fails: no peers, a teacher that is cut off or incoherent
after the divergence, a first token on which the prompts disagree, shrinking or endless responses, a drifting policy.
"""

import jax.numpy as jnp

from hsd_jax.methods import row
from hsd_jax.reading.peers import coverage, free_of, successful
from hsd_jax.types import Array
from hsd_jax.update import credit
from hsd_jax.update.state import StepConfig, Trace

OVERLAP = ("overlap", "overlap_mass", "overlap_gain", "entropy_gap")
POSITIONS = 16  # bins of relative position for `kl_by_position`


def measure(settings: StepConfig, trace: Trace) -> dict[str, Array]:
    """Scalars (and one short list) over the global batch; what a method does not have is not named."""
    rollouts, rewards_PG = trace.inputs.rollouts, trace.inputs.rewards_PG
    steps_T = jnp.arange(rollouts.response_PGT.shape[2])
    valid_PGT = steps_T[None, None, :] < rollouts.length_PG[..., None]
    seen = {
        "reward": jnp.mean(rewards_PG),
        "coverage": coverage(successful(rewards_PG)),
        "response_length": jnp.mean(rollouts.length_PG.astype(jnp.float32)),
        "truncated": 1 - jnp.mean(rollouts.finished_PG.astype(jnp.float32)),
        "entropy": mean_over(trace.stats["student_entropy"], valid_PGT),
        "sampler_gap": mean_over(jnp.abs(trace.stats["student_logprob"] - rollouts.logprob_PGT), valid_PGT),
    }
    if "kl_reference" in trace.stats:
        seen["kl_reference"] = mean_over(trace.stats["kl_reference"], valid_PGT)
    if row.has_teacher(settings.method):
        seen |= of_teacher(trace, valid_PGT)
    if row.peer_of(settings.method):
        seen |= of_peers(rewards_PG, trace, valid_PGT)
        unfit_PG = ~free_of(settings.control_ids, rollouts)
        seen["peer_markup"] = mean_over(unfit_PG.astype(jnp.float32), successful(rewards_PG))
    return seen


def of_teacher(trace: Trace, valid_PGT: Array) -> dict[str, Array]:
    """How far the teacher is from the student, and where."""
    kl_PGT = trace.stats["kl"]
    length_PG1 = jnp.maximum(jnp.sum(valid_PGT, axis=2, keepdims=True), 1)
    place_PGT = (jnp.arange(valid_PGT.shape[2])[None, None, :] * POSITIONS) // length_PG1
    bins = [mean_over(kl_PGT, valid_PGT & (place_PGT == b)) for b in range(POSITIONS)]
    distilled_PG = jnp.sum(trace.weights_PGT, axis=2) > 0
    return {
        "teacher_entropy": mean_over(trace.stats["teacher_entropy"], valid_PGT),
        "kl": mean_over(kl_PGT, valid_PGT),
        "first_token_kl": mean_over(kl_PGT[..., 0], valid_PGT[..., 0]),
        "first_token_agreement": agreement(trace, valid_PGT),
        "kl_by_position": jnp.stack(bins),
        "masked": 1 - jnp.mean(distilled_PG.astype(jnp.float32)),
    } | {name: mean_over(trace.stats[name], valid_PGT) for name in OVERLAP if name in trace.stats}


def agreement(trace: Trace, valid_PGT: Array) -> Array:
    """Share of rollouts before whose first token student and teacher have the same likeliest one."""
    first_PG, taught_PG = (trace.stats[f"top_ids_{who}"][:, :, 0, 0] for who in ("student", "teacher"))
    return mean_over((first_PG == taught_PG).astype(jnp.float32), valid_PGT[..., 0])


def of_peers(rewards_PG: Array, trace: Trace, valid_PGT: Array) -> dict[str, Array]:
    """Where credit falls relative to the divergence from the peer, and whether the teacher stays coherent after it."""
    size_PGT = jnp.abs(trace.stats["credit"])
    tau_PG = trace.divergence_PG
    at = credit.at_offsets(size_PGT, valid_PGT, tau_PG, 0, 0)
    return {
        "fallback": 1 - jnp.mean(trace.inputs.read.has_peer_PG.astype(jnp.float32)),
        "peer_truncated": jnp.mean(trace.inputs.read.peer_truncated_PG.astype(jnp.float32)),
        "divergence": credit.median_position(tau_PG),
        "credit_mass_8": credit.mass_within(size_PGT, valid_PGT, tau_PG, 8),
        "credit_at_divergence": at,
        "credit_before_divergence": credit.at_offsets(size_PGT, valid_PGT, tau_PG, -6, -1),
        "teacher_coherence": coherence(rewards_PG, trace, valid_PGT),
    }


def coherence(rewards_PG: Array, trace: Trace, valid_PGT: Array) -> Array:
    """Mean of min(1, p_teacher / p_student) at the student's tokens after the divergence of failed rollouts.

    1: the teacher would continue the student's text as readily as the student. Near 0: it recites its peer.
    """
    after_PGT = jnp.arange(valid_PGT.shape[2])[None, None, :] > trace.divergence_PG[..., None]
    failed_PGT = ~successful(rewards_PG)[..., None] & (trace.divergence_PG >= 0)[..., None]
    agreement_PGT = jnp.exp(jnp.minimum(trace.stats["credit"], 0.0))
    return mean_over(agreement_PGT, valid_PGT & after_PGT & failed_PGT)


def mean_over(values: Array, where: Array) -> Array:
    """Mean of the values where a condition holds; 0 where it holds nowhere."""
    return jnp.sum(jnp.where(where, values, 0.0)) / jnp.maximum(jnp.sum(where), 1)

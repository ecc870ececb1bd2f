"""Divergences between next-token distributions, exact over the whole vocabulary: [.., V] -> [..], in nats.

Naming follows the field, not the paper's prose: `forward` has the teacher first (mass-covering, the paper's formula),
`reverse` the student first. Every divergence exists on logits and, with the suffix `_logp`, on log-probabilities;
token losses use the latter. All are plain reductions over the last axis, so they hold for a vocabulary that
the compiler has spread over many chips just as for one that lies on a single chip.
"""

import jax
import jax.numpy as jnp

Array = jax.Array


IMPOSSIBLE = -1e9  # log-probability of a token that cannot occur: finite, so that 0 · (difference of two) is 0, not NaN


def log_probs(logits: Array) -> Array:
    """Log-softmax over the last axis in at least float32 (bf16 has steps of 0.125 near 16), never below −1e9."""
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    return jnp.maximum(jax.nn.log_softmax(logits, axis=-1), IMPOSSIBLE)


def expect(logp: Array, values: Array) -> Array:
    """Σ_v p(v)·values(v)."""
    return jnp.sum(jnp.exp(logp) * values, axis=-1)


def forward_kl_logp(student_logp: Array, teacher_logp: Array) -> Array:
    """KL(teacher ‖ student) = Σ_v p_T(v)·(log p_T(v) − log p_S(v)).

    The gradient with respect to the student's logits is p_S − p_T. Source: arXiv:2606.15576, Eq. 13.
    """
    return expect(teacher_logp, teacher_logp - student_logp)


def reverse_kl_logp(student_logp: Array, teacher_logp: Array) -> Array:
    """KL(student ‖ teacher) = Σ_v p_S(v)·(log p_S(v) − log p_T(v)); with the reference as teacher, the exact β-KL."""
    return expect(student_logp, student_logp - teacher_logp)


def jsd_logp(student_logp: Array, teacher_logp: Array, alpha: float) -> Array:
    """α·KL(T ‖ M) + (1−α)·KL(S ‖ M) with M = (1−α)·S + α·T; at the ends, by convention, α = 0 is forward, 1 reverse.

    The ends are a convention because the formula is 0 there.
    Raises: ValueError for α outside [0, 1]. Source: arXiv:2601.20802 and its released code.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"jsd: alpha = {alpha} but must lie in [0, 1]; 0.5 is the symmetric divergence")
    if alpha in (0, 1):
        return (forward_kl_logp, reverse_kl_logp)[int(alpha)](student_logp, teacher_logp)
    mixture_logp = jnp.logaddexp(jnp.log1p(-alpha) + student_logp, jnp.log(alpha) + teacher_logp)
    student_part = expect(student_logp, student_logp - mixture_logp)
    return alpha * expect(teacher_logp, teacher_logp - mixture_logp) + (1 - alpha) * student_part


def entropy_logp(logp: Array) -> Array:
    """−Σ_v p(v)·log p(v)."""
    return -expect(logp, logp)


def pick(logp: Array, ids: Array) -> Array:
    """log p(ids): one entry of each distribution, [.., V] and int [..] -> [..].

    A comparison with every id, not a gather: its gradient is elementwise where a gather's is a scatter into zeros,
    and a vocabulary spread over chips needs no exchange beyond the sum.
    """
    all_ids = jax.lax.broadcasted_iota(ids.dtype, logp.shape, logp.ndim - 1)
    return jnp.sum(jnp.where(all_ids == ids[..., None], logp, 0), axis=-1)


def forward_kl(student_logits: Array, teacher_logits: Array) -> Array:
    """KL(teacher ‖ student) of two sets of logits, [.., V] -> [..]; see `forward_kl_logp`."""
    return forward_kl_logp(log_probs(student_logits), log_probs(teacher_logits))


def reverse_kl(student_logits: Array, teacher_logits: Array) -> Array:
    """KL(student ‖ teacher) of two sets of logits, [.., V] -> [..]; see `reverse_kl_logp`."""
    return reverse_kl_logp(log_probs(student_logits), log_probs(teacher_logits))


def jsd(student_logits: Array, teacher_logits: Array, alpha: float) -> Array:
    """The skewed Jensen-Shannon divergence of two sets of logits, [.., V] -> [..]; see `jsd_logp`."""
    return jsd_logp(log_probs(student_logits), log_probs(teacher_logits), alpha)


def entropy(logits: Array) -> Array:
    """Entropy of softmax(logits), [.., V] -> [..]."""
    return entropy_logp(log_probs(logits))

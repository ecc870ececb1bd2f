"""TokenInputs losses against formulas in float64 NumPy, published golden values, and other implementations."""

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hsd_jax import advantages, losses
from hsd_jax.divergence import forward_kl_logp, jsd_logp
from hsd_jax.losses import TokenInputs, TokenLoss
from tests.support.numpy_oracles import clipped_surrogate, jsd, kl, log_softmax

N, V = 6, 11
RNG = np.random.default_rng(3)


S, T, R = (log_softmax(2 * RNG.normal(size=(N, V))) for _ in range(3))
IDS = RNG.integers(0, V, N)
ADVANTAGE = np.array([1.2, -0.7, 0.0, 1.2, -0.7, 0.4])
OLD = S[np.arange(N), IDS] + 0.3 * RNG.normal(size=N)
DISTILL = np.array([1, 1, 0, 1, 1, 1.0])
OTHERS = {"teacher": jnp.asarray(T, jnp.float32), "anchor": jnp.asarray(R, jnp.float32)}
OTHERS["reference"] = OTHERS["anchor"]


def token(**changes: Any) -> TokenInputs:
    arrays = (IDS, DISTILL, ADVANTAGE, OLD, np.zeros(N), np.ones(N), np.ones(N))
    made = TokenInputs(*(jnp.asarray(x, jnp.float32) for x in arrays))
    return replace(made, **({"id": jnp.asarray(IDS)} | changes))


def value(loss: TokenLoss, **changes: Any) -> np.ndarray:
    return np.asarray(jax.jit(loss)(jnp.asarray(S, jnp.float32), OTHERS, token(**changes)), np.float64)


def gradient(loss: TokenLoss, logits: np.ndarray = S, **changes: Any) -> np.ndarray:
    def total(logits: jax.Array) -> jax.Array:
        return jnp.sum(loss(jax.nn.log_softmax(logits), OTHERS, token(**changes)))

    return np.asarray(jax.grad(total)(jnp.asarray(logits, jnp.float32)))


def at(logp: np.ndarray) -> np.ndarray:
    return logp[np.arange(N), IDS]


def test_forward_distillation_has_the_papers_gradient() -> None:
    np.testing.assert_allclose(value(losses.forward), DISTILL * kl(T, S), atol=1e-5)
    np.testing.assert_allclose(gradient(losses.forward), DISTILL[:, None] * (np.exp(S) - np.exp(T)), atol=1e-6)


def test_sampled_reverse_estimates_the_student_first_gradient() -> None:
    """Summed over all tokens with the student's probabilities it is the gradient of KL(student || teacher)."""
    expected = np.zeros((N, V))
    for v in range(V):
        ids = jnp.full(N, v)
        expected += np.exp(S[:, v : v + 1]) * gradient(losses.sampled_reverse, id=ids, distill=jnp.ones(N))
    exact = np.exp(S) * (S - T - kl(S, T)[:, None])
    np.testing.assert_allclose(expected, exact, atol=2e-5)


@pytest.mark.parametrize(("low", "high"), [(0.2, 0.2), (0.2, 0.28)])
def test_policy_gradient_clips_the_ratio(low: float, high: float) -> None:
    expected = clipped_surrogate(np.exp(at(S) - OLD), ADVANTAGE, low, high)
    np.testing.assert_allclose(value(losses.policy_gradient(low, high)), expected, atol=1e-5)


def test_sequence_ratio_is_shared_by_the_rollouts_tokens() -> None:
    log_ratio = jnp.full(N, 2e-4)
    got = value(losses.sequence_policy_gradient(3e-4, 4e-4), log_ratio=log_ratio)
    np.testing.assert_allclose(got, clipped_surrogate(np.exp(np.full(N, 2e-4)), ADVANTAGE, 3e-4, 4e-4), atol=1e-6)
    past = gradient(losses.sequence_policy_gradient(3e-4, 4e-4), log_ratio=jnp.full(N, 1e-3))
    assert np.abs(past[ADVANTAGE > 0]).max() == 0 and np.abs(past[ADVANTAGE < 0]).max() > 0


def test_at_ratio_one_all_policy_gradients_agree() -> None:
    on_policy = {"old_logprob": jnp.asarray(at(S), jnp.float32)}
    one = gradient(losses.policy_gradient(0.2, 0.2), **on_policy)
    for other in (losses.policy_gradient(0.2, 0.28), losses.sequence_policy_gradient(3e-4, 4e-4)):
        np.testing.assert_allclose(gradient(other, **on_policy), one, atol=1e-6)


def test_reweighted_advantages_golden_values() -> None:
    """lambda .5, width .2: A = 1, -1, 0 and D = .3, -.3, .05 (values of the released RLSD code)."""
    given, differences = np.array([1.0, -1.0, 0.0]), np.array([0.3, -0.3, 0.05])
    expected = np.array([[1.1, 0.9, 1.025635], [-0.9, -1.1, -0.975615], [0, 0, 0]])
    loss = losses.policy_gradient(0.2, 0.28, losses.teacher_reweighted_advantage(1.0, 0.2))
    for advantage, row in zip(given, expected, strict=True):
        student = jnp.log(jnp.full((3, 2), 0.5))
        teacher = jnp.stack([student[:, 0] + jnp.asarray(differences, jnp.float32), student[:, 1]], axis=1)
        known = TokenInputs(
            *(jnp.zeros(3, jnp.int32), jnp.ones(3), jnp.full(3, advantage), student[:, 0], jnp.zeros(3)),
            *(jnp.full(3, 0.5), jnp.zeros(3)),
        )
        got = -np.asarray(loss(student, {"teacher": teacher}, known))
        np.testing.assert_allclose(got, row, atol=1e-6)


def test_reweighting_without_strength_is_the_policy_gradient() -> None:
    plain = losses.policy_gradient(0.2, 0.28)
    for sign in (1.0, -1.0):
        loss = losses.policy_gradient(0.2, 0.28, losses.teacher_reweighted_advantage(sign, 0.5))
        np.testing.assert_allclose(value(loss, strength=jnp.zeros(N)), value(plain), atol=1e-6)
        np.testing.assert_allclose(gradient(loss, strength=jnp.zeros(N)), gradient(plain), atol=1e-6)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_reweighted_policy_gradient_equals_its_formula(sign: float) -> None:
    weight = np.exp(sign * np.sign(ADVANTAGE) * (at(T) - at(S))).clip(0.5, 1.5)
    share = 0.4 * DISTILL
    expected = clipped_surrogate(np.exp(at(S) - OLD), ADVANTAGE * (1 - share + share * weight), 0.2, 0.28)
    loss = losses.policy_gradient(0.2, 0.28, losses.teacher_reweighted_advantage(sign, 0.5))
    np.testing.assert_allclose(value(loss, strength=jnp.full(N, 0.4)), expected, atol=1e-5)


def test_contrarian_bonus_is_the_gradient_of_the_jsd() -> None:
    """-E_p[phi(u) grad log p] = grad JSD(p, q) by exact enumeration, so descending the loss ascends the JSD."""
    loss = losses.policy_gradient(0.2, 0.2, losses.antisd_advantage)
    total = np.zeros((N, V))
    for v in range(V):
        changes = {
            "id": jnp.full(N, v),
            "advantage": jnp.zeros(N),
            "distill": jnp.ones(N),
            "old_logprob": jnp.asarray(S[:, v], jnp.float32),
        }
        total += np.exp(S[:, v : v + 1]) * gradient(loss, **changes)
    exact = jax.grad(lambda s: jnp.sum(jsd_logp(jax.nn.log_softmax(s), OTHERS["teacher"], 0.5)))
    np.testing.assert_allclose(total, -np.asarray(exact(jnp.asarray(S, jnp.float32))), atol=2e-5)


def test_attenuated_divergence_equals_its_formula() -> None:
    share = 2 * 0.15 * (1 / (1 + np.exp(-50 * jsd(R, T))) - 0.5)
    importance = np.minimum(np.exp(at(S) - OLD), 2)
    expected = DISTILL * importance * ((1 - share) * kl(S, T) + share * kl(S, R))
    np.testing.assert_allclose(value(losses.mixture_kl(0.15, 50.0)), expected, atol=1e-5)


GOLDEN_S = np.array([[0.5, -1, 2, 0, 1], [0, 0.3, -0.7, 1.2, -2]])
GOLDEN_T = np.array([[1.5, 0, -1, 0.5, 2], [-1, 2, 0.1, 0.4, 0]])


@pytest.mark.parametrize(
    ("k", "expected"),
    [(2, [0.20543083, 0.12220888]), (3, [0.20651308, 0.15049497]), (4, [0.20739546, 0.15540491])],
)
def test_top_k_with_tail_golden_values(k: int, expected: list[float]) -> None:
    """The last row, k = V - 1, is the divergence over the full vocabulary."""
    student, teacher = (jnp.asarray(log_softmax(x), jnp.float32) for x in (GOLDEN_S, GOLDEN_T))
    got = losses.top_k_with_tail(partial(jsd_logp, alpha=0.5), k)(student, teacher)
    np.testing.assert_allclose(got, expected, atol=1e-6)


@pytest.mark.parametrize(("limit", "mean"), [(0.05, 0.00039315), (0.06, 0.02474447)])
def test_pointwise_clip_golden_values(limit: float, mean: float) -> None:
    student, teacher = (jnp.asarray(log_softmax(x), jnp.float32) for x in (GOLDEN_S, GOLDEN_T))
    assert float(jnp.mean(losses.pointwise_clipped_kl(limit)(student, teacher))) == pytest.approx(mean, abs=1e-6)
    assert float(jnp.mean(losses.token_clipped(forward_kl_logp, limit)(student, teacher))) == pytest.approx(limit)


def test_pointwise_clip_may_be_negative() -> None:
    student = jnp.log(jnp.full((1, 4), 0.25))
    teacher = jnp.log(jnp.asarray([[0.97, 0.01, 0.01, 0.01]]))
    assert float(losses.pointwise_clipped_kl(0.01)(student, teacher)[0]) < 0
    assert float(losses.pointwise_clipped_kl(jnp.inf)(student, teacher)[0]) == pytest.approx(
        float(forward_kl_logp(student, teacher)[0]), abs=1e-6
    )


def test_temperature_divides_both_logits() -> None:
    """The golden values of generalized JSD at T = 1.1 with beta 0 (forward), mean over the tokens."""
    student, teacher = (jnp.asarray(log_softmax(x), jnp.float32) for x in (GOLDEN_S, GOLDEN_T))
    got = losses.tempered(forward_kl_logp, 1.1)(student, teacher)
    assert float(jnp.mean(got)) == pytest.approx(0.58225585, abs=1e-6)


def test_reference_kls() -> None:
    difference = at(R) - at(S)
    expected = {
        losses.full_kl: kl(S, R),
        losses.k1: -difference,
        losses.k2: difference**2 / 2,
        losses.k3: np.exp(difference) - difference - 1,
    }
    for loss, values in expected.items():
        np.testing.assert_allclose(value(loss), values, atol=1e-5)


def test_what_the_estimates_of_the_kl_really_descend() -> None:
    """In expectation over the policy: k1 nothing, k2 KL(p || ref), k3 KL(ref || p)."""
    exact = {losses.k1: np.zeros((N, V)), losses.k2: np.exp(S) * (S - R - kl(S, R)[:, None])}
    exact[losses.k3] = np.exp(S) - np.exp(R)
    for loss, wanted in exact.items():
        total = sum(np.exp(S[:, v : v + 1]) * gradient(loss, id=jnp.full(N, v)) for v in range(V))
        np.testing.assert_allclose(total, wanted, atol=3e-5)


# --- what is decided before the loss


def test_advantages_golden_values() -> None:
    rewards = jnp.asarray([[1.0, 1, 1, 0, 0, 0, 0, 0], [1] * 8, [0] * 8])
    got = np.asarray(advantages.standardized(rewards))
    np.testing.assert_allclose(got[0], [1.2076] * 3 + [-0.7246] * 5, atol=1e-4)
    np.testing.assert_allclose(np.asarray(advantages.centered(rewards))[0], [0.625] * 3 + [-0.375] * 5)
    assert (got[1:] == 0).all()


def test_normalizers_sum_to_what_they_say() -> None:
    valid = jnp.arange(5)[None, None, :] < jnp.asarray([[2, 5], [1, 3]])[..., None]
    assert float(advantages.sequence_mean(valid).sum()) == pytest.approx(1.0)
    assert float(advantages.token_mean(valid).sum()) == pytest.approx(1.0)
    assert float(advantages.constant(valid).sum()) == pytest.approx(11 / 20)
    np.testing.assert_allclose(advantages.sequence_mean(valid)[0, 0], [1 / 8, 1 / 8, 0, 0, 0])


def test_soft_overlong_only_punishes_the_last_eighth() -> None:
    length, limit = jnp.asarray([[10, 70, 75, 80]]), jnp.asarray([[80]])
    got = advantages.soft_overlong(jnp.asarray([[1.0, 1.0, 1.0, 0.0]]), length, limit)
    np.testing.assert_allclose(got, [[1.0, 1.0, 0.5, -1.0]])


@pytest.mark.parametrize("reward", [0.0, 1.0])
def test_a_group_of_equal_rewards_learns_nothing_from_length(reward: float) -> None:
    shaped = advantages.soft_overlong(jnp.full((1, 4), reward), jnp.asarray([[10, 70, 75, 80]]), jnp.asarray([[80]]))
    assert (np.asarray(advantages.standardized(shaped)) == 0).all()


def test_schedules() -> None:
    fading = advantages.fading(0.5, 50)
    assert [float(fading(jnp.asarray(s))) for s in (0, 25, 50, 80)] == [0.5, 0.25, 0.0, 0.0]
    warm = advantages.after_warmup(0.5, 5)
    assert [float(warm(jnp.asarray(s))) for s in (0, 4, 5)] == [0.0, 0.0, 0.5]


def test_rollout_ratio_is_the_mean_over_its_tokens() -> None:
    new, old = jnp.asarray([[[0.1, 0.3, 9.0]]]), jnp.zeros((1, 1, 3))
    got = advantages.mean_rollout_ratio(lambda: new, old, jnp.asarray([[2]]))
    np.testing.assert_allclose(got, [[[0.2, 0.2, 0.2]]], rtol=1e-6)
    log_ratio = advantages.mean_clipped_ratio(lambda: jnp.asarray([[[0.1, 5.0, 9.0]]]), old, jnp.asarray([[2]]))
    np.testing.assert_allclose(jnp.exp(log_ratio), np.full((1, 1, 3), (np.exp(0.1) + 2) / 2), rtol=1e-6)
    assert (np.asarray(advantages.mean_clipped_ratio(lambda: new, old, jnp.asarray([[0]]))) == 0).all()

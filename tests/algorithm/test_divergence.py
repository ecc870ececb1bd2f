"""Divergences against printed golden values, float64 NumPy and the closed form of their gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hsd_jax import divergence
from tests.support.numpy_oracles import entropy, kl, log_softmax

STUDENT = np.array([[0.5, -1, 2, 0, 1], [0, 0.3, -0.7, 1.2, -2]])
TEACHER = np.array([[1.5, 0, -1, 0.5, 2], [-1, 2, 0.1, 0.4, 0]])
GOLDEN = [
    (divergence.forward_kl, {}, [0.71970959, 0.63413991]),
    (divergence.reverse_kl, {}, [1.41625689, 0.69874299]),
    (divergence.jsd, {"alpha": 0.5}, [0.20739546, 0.15540491]),
    (divergence.jsd, {"alpha": 0.3}, [0.16150071, 0.12961737]),
    (divergence.jsd, {"alpha": 0.0}, [0.71970959, 0.63413991]),
    (divergence.jsd, {"alpha": 1.0}, [1.41625689, 0.69874299]),
]


@pytest.mark.parametrize(("function", "options", "expected"), GOLDEN)
def test_golden_values(function, options, expected):
    value = function(jnp.asarray(STUDENT, jnp.float32), jnp.asarray(TEACHER, jnp.float32), **options)
    np.testing.assert_allclose(value, expected, atol=1e-6)


def brute_force(student, teacher, alpha):
    s, t = log_softmax(student), log_softmax(teacher)
    if alpha in (0, 1):
        return kl(s, t) if alpha else kl(t, s)
    middle = np.log((1 - alpha) * np.exp(s) + alpha * np.exp(t))
    return alpha * kl(t, middle) + (1 - alpha) * kl(s, middle)


@pytest.mark.parametrize("alpha", [0, 0.1, 0.5, 0.9, 1])
def test_equals_float64_brute_force_on_peaked_distributions(alpha):
    rng = np.random.default_rng(0)
    student, teacher = 6 * rng.normal(size=(2, 3, 7, 501))
    value = divergence.jsd(jnp.float32(student), jnp.float32(teacher), alpha)
    np.testing.assert_allclose(value, brute_force(student, teacher, alpha), rtol=1e-5, atol=1e-5)


def test_gradient_of_forward_kl_is_student_minus_teacher():
    grad = jax.grad(lambda s: divergence.forward_kl(s, jnp.float32(TEACHER)).sum())(jnp.float32(STUDENT))
    expected = np.exp(log_softmax(STUDENT)) - np.exp(log_softmax(TEACHER))
    np.testing.assert_allclose(grad, expected, atol=1e-6)


def test_gradient_of_reverse_kl_in_closed_form():
    grad = jax.grad(lambda s: divergence.reverse_kl(s, jnp.float32(TEACHER)).sum())(jnp.float32(STUDENT))
    s, t = log_softmax(STUDENT), log_softmax(TEACHER)
    np.testing.assert_allclose(grad, np.exp(s) * (s - t - kl(s, t)[:, None]), atol=1e-6)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_impossible_tokens_give_neither_nan_nor_gradient(alpha):
    blocked = jnp.full((2, 1), -jnp.inf)
    student = jnp.concatenate([jnp.float32(STUDENT), blocked], axis=1)
    teacher = jnp.concatenate([jnp.float32(TEACHER), blocked], axis=1)
    value, grad = jax.value_and_grad(lambda s: divergence.jsd(s, teacher, alpha).sum())(student)
    np.testing.assert_allclose(value, brute_force(STUDENT, TEACHER, alpha).sum(), rtol=1e-5)
    assert np.isfinite(grad).all() and (grad[:, -1] == 0).all()


def test_equal_distributions_have_zero_divergence_and_gradient():
    for alpha in (0.0, 0.5, 1.0):
        value, grad = jax.value_and_grad(lambda s, a=alpha: divergence.jsd(s, jnp.float32(STUDENT), a).sum())(
            jnp.float32(STUDENT) + 3
        )
        assert abs(value) < 1e-6 and np.abs(grad).max() < 1e-6


def test_low_precision_logits_are_compared_in_float32():
    value = divergence.forward_kl(jnp.bfloat16(STUDENT), jnp.bfloat16(TEACHER))
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, brute_force(STUDENT, TEACHER, 0), rtol=2e-2)


def test_entropy_and_pick():
    logp = log_softmax(STUDENT)
    np.testing.assert_allclose(divergence.entropy(jnp.float32(STUDENT)), entropy(logp), atol=1e-6)
    ids = jnp.int32([2, 4])
    picked, grad = jax.value_and_grad(lambda x: divergence.pick(x, ids).sum())(jnp.float32(logp))
    np.testing.assert_allclose(picked, logp[0, 2] + logp[1, 4], atol=1e-6)
    np.testing.assert_array_equal(grad, np.eye(5)[np.array(ids)])


@pytest.mark.parametrize("alpha", [-0.1, 1.5])
def test_alpha_outside_the_unit_interval_is_refused(alpha):
    with pytest.raises(ValueError, match=r"alpha = .* \[0, 1\]"):
        divergence.jsd(jnp.float32(STUDENT), jnp.float32(TEACHER), alpha)


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 1.0])
def test_equals_trl(alpha):
    torch = pytest.importorskip("torch", reason="torch is a test-only dependency")
    utils = pytest.importorskip(
        "trl.experimental.sdpo.loss_utils", reason="trl is a test-only dependency", exc_type=ImportError
    )
    rng = np.random.default_rng(1)
    student, teacher = 3 * rng.normal(size=(2, 4, 97))
    s, t = (torch.log_softmax(torch.tensor(x), -1) for x in (student, teacher))
    expected = utils.compute_divergence(s, t, alpha).numpy()
    expected = expected.sum(-1) if expected.ndim == 2 else expected
    np.testing.assert_allclose(divergence.jsd(jnp.float32(student), jnp.float32(teacher), alpha), expected, atol=1e-5)

"""Statistics of tokens against their definitions in float64, and that logging them leaves the loss alone."""

import jax
import jax.numpy as jnp
import numpy as np

from hsd_jax import losses
from hsd_jax.losses import TokenInputs
from hsd_jax.update import token_stats
from tests.support.numpy_oracles import entropy, kl, log_softmax

N, V = 9, 13
RNG = np.random.default_rng(2)
STUDENT, TEACHER, REFERENCE = (log_softmax(3 * RNG.normal(size=(N, V))) for _ in range(3))
IDS = RNG.integers(0, V, N)
TOKEN = TokenInputs(jnp.asarray(IDS), *(jnp.ones(N) for _ in range(2)), *(jnp.zeros(N) for _ in range(2)), jnp.ones(N))
LOGPS = tuple(jnp.asarray(logp, jnp.float32) for logp in (STUDENT, TEACHER, REFERENCE))
OTHERS = {"teacher": LOGPS[1], "reference": LOGPS[2]}


def three_likeliest(logp: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    ids = np.argsort(-logp, axis=-1)[:, :3]
    return ids, np.exp(np.take_along_axis(logp, ids, axis=-1))


def test_every_statistic_equals_its_definition() -> None:
    rows = np.arange(N)
    wanted = {
        "student_logprob": STUDENT[rows, IDS],
        "student_entropy": entropy(STUDENT),
        "teacher_logprob": TEACHER[rows, IDS],
        "teacher_entropy": entropy(TEACHER),
        "credit": TEACHER[rows, IDS] - STUDENT[rows, IDS],
        "kl": kl(TEACHER, STUDENT),
        "kl_reference": kl(STUDENT, REFERENCE),
    }
    for who, logp in (("student", STUDENT), ("teacher", TEACHER)):
        wanted[f"top_ids_{who}"], wanted[f"top_probs_{who}"] = three_likeliest(logp)
    found = token_stats.stats_of(LOGPS[0], OTHERS, TOKEN)
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-5, err_msg=name)


def test_a_method_without_teacher_or_reference_has_no_statistics_of_them() -> None:
    found = token_stats.stats_of(LOGPS[0], {}, TOKEN)
    assert set(found) == {"student_logprob", "student_entropy", "top_ids_student", "top_probs_student"}


def test_statistics_change_neither_loss_nor_gradient() -> None:
    both = token_stats.with_stats(losses.forward, ("teacher", "reference"))

    def total(student: jax.Array, *, stats: bool) -> jax.Array:
        if not stats:
            return jnp.sum(losses.forward(student, OTHERS, TOKEN))
        loss, found = both((student, *LOGPS[1:]), TOKEN)
        return jnp.sum(loss) + sum(jnp.sum(value) for name, value in found.items() if "ids" not in name)

    plain, with_stats = (jax.grad(total)(LOGPS[0], stats=stats) for stats in (False, True))
    np.testing.assert_array_equal(plain, with_stats)
    np.testing.assert_allclose(both(LOGPS, TOKEN)[0], kl(TEACHER, STUDENT), rtol=1e-5)

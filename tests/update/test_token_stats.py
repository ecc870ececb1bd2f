"""Statistics of tokens against their definitions in float64, and that logging them leaves the loss alone."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from hsd_jax import losses
from hsd_jax.losses import TokenInputs
from hsd_jax.planning import aot, hlo
from hsd_jax.planning.chips import parse_topology
from hsd_jax.scoring.fused_loss import Stream, fused_token_loss, over_mesh
from hsd_jax.update import token_stats
from tests.support.numpy_oracles import entropy, kl, log_softmax

N, V = 9, 13
RNG = np.random.default_rng(2)
STUDENT, TEACHER, REFERENCE = (log_softmax(3 * RNG.normal(size=(N, V))) for _ in range(3))
IDS = RNG.integers(0, V, N)
TOKEN = TokenInputs(
    jnp.asarray(IDS),
    *(jnp.ones(N) for _ in range(2)),
    *(jnp.zeros(N) for _ in range(2)),
    *(jnp.ones(N) for _ in range(2)),
)
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


def test_of_equally_likely_tokens_the_first_is_the_likeliest() -> None:
    """As an argmax has it; numbers that are not finite still give ids of the vocabulary."""
    logp = jnp.array([[0.0, 2.0, 2.0, 1.0, 2.0], [jnp.nan] * 5, [-jnp.inf] * 5])
    ids = token_stats.likeliest(logp, "x")["top_ids_x"]
    np.testing.assert_array_equal(ids[0], [1, 2, 4])
    assert ((ids >= 0) & (ids < 5)).all()


def traffic(devices: list[Any], *, stats: bool) -> dict[str, float]:
    """Bytes that a chip of eight exchanges in the loss at the width of 8B, by kind, as compiled."""
    width, vocab, tokens, names = 4096, 2048, 8 * 256, ("teacher", "reference")
    mesh = Mesh(np.array(devices).reshape(1, 8, 1), ("data", "fsdp", "tensor"), axis_types=(AxisType.Auto,) * 3)
    rows, stored = NamedSharding(mesh, P(("data", "fsdp"))), NamedSharding(mesh, P("fsdp", "tensor"))
    hidden: Any = jax.ShapeDtypeStruct((tokens, width), jnp.bfloat16, sharding=rows)
    head: Any = jax.ShapeDtypeStruct((width, vocab), jnp.float32, sharding=stored)
    stream = Stream(hidden, head)
    flat: Any = jax.ShapeDtypeStruct((tokens,), jnp.float32, sharding=rows)
    ids: Any = jax.ShapeDtypeStruct((tokens,), jnp.int32, sharding=rows)
    token = TokenInputs(ids, flat, flat, flat, flat, flat, flat)
    both = losses.weighted(((1.0, losses.forward), (1e-3, losses.full_kl)))

    def bare(logps: tuple[jax.Array, ...], token: TokenInputs) -> tuple[jax.Array, dict[str, jax.Array]]:
        return both(logps[0], dict(zip(names, logps[1:], strict=True)), token), {}

    chosen = token_stats.with_stats(both, names) if stats else bare

    def gradient(student: Stream, frozen: tuple[Stream, ...], token: TokenInputs, weights_N: jax.Array) -> Any:
        loss = lambda s: fused_token_loss(chosen, s, frozen, token, weights_N, over_mesh(mesh, chunk=128))  # noqa: E731
        return jax.value_and_grad(loss, has_aux=True)(student)

    lowered = jax.jit(gradient).lower(stream, (stream, stream), token, flat)
    return {kind: found["bytes"] for kind, found in hlo.collectives(aot.compile_for_tpu(lowered).text).items()}


def assert_statistics_exchange_little(devices: list[Any]) -> None:
    """Below 1 % of the loss alone; a step exchanges more than its loss."""
    plain, logged = (traffic(devices, stats=stats) for stats in (False, True))
    assert logged["all-to-all"] == plain["all-to-all"] > 0
    assert sum(logged.values()) <= 1.01 * sum(plain.values()), (plain, logged)


def test_no_statistic_moves_the_vocabulary_between_devices() -> None:
    assert_statistics_exchange_little(jax.devices())


@pytest.mark.aot
def test_no_statistic_moves_the_vocabulary_between_chips_of_v6e() -> None:
    pytest.importorskip("libtpu", reason="compiling for TPU ahead of time needs libtpu")
    assert_statistics_exchange_little(aot.devices(parse_topology("v6e:2x4")))

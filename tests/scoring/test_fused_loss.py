"""The fused loss against the same loss on whole [N, V] arrays, its cost, its memory, and eight devices."""

import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from hsd_jax import divergence
from hsd_jax.planning.jaxpr_cost import jaxpr_of, matmul_flops, values
from hsd_jax.scoring.fused_loss import LossSharding, Stream, fused_token_loss, over_mesh

N, D, V = 24, 8, 53


def everything(logps, token):
    """A loss that touches every building block, so that each gradient path is compared."""
    student, teacher, reference = logps
    sampled = divergence.pick(student, token["id"])
    loss = divergence.forward_kl_logp(student, teacher) + 0.3 * divergence.jsd_logp(student, teacher, 0.5)
    loss = loss + 0.1 * divergence.reverse_kl_logp(student, reference) - token["advantage"] * sampled
    credit = divergence.pick(teacher, token["id"]) - sampled
    return loss, {"credit": credit, "entropy": divergence.entropy_logp(student)}


def forward_kl(logps, token):
    return divergence.forward_kl_logp(*logps), {}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)

    def stream(scale):
        return Stream(jnp.float32(scale * rng.normal(size=(N, D))), jnp.float32(rng.normal(size=(D, V))))

    token = {"id": jnp.int32(rng.integers(0, V, N)), "advantage": jnp.float32(rng.normal(size=N))}
    weights = jnp.float32(rng.uniform(size=N) * (rng.uniform(size=N) > 0.3))
    return stream(1.0), (stream(1.2), stream(0.8)), token, weights


def whole(student, frozen, token, weights):
    logps = tuple(divergence.log_probs(s.hidden_ND @ s.head_DV) for s in (student, *frozen))
    loss_N, stats = everything(logps, token)
    return jnp.sum(weights * loss_N), {**stats, "loss": loss_N}


def close(actual, expected, tolerance=1e-5):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance), actual, expected)


@pytest.mark.parametrize("chunk", [1, 5, 8, 24, 64])
def test_value_stats_and_gradients_equal_the_unchunked_loss(data, chunk):
    student, *rest = data
    fused = jax.jit(
        jax.value_and_grad(lambda s: fused_token_loss(everything, s, *rest, LossSharding(chunk)), has_aux=True)
    )
    close(fused(student), jax.value_and_grad(lambda s: whole(s, *rest), has_aux=True)(student))


def test_value_without_gradient_is_the_same(data):
    close(fused_token_loss(everything, *data, LossSharding(7)), whole(*data))


def test_gradient_is_scaled_by_the_cotangent(data):
    student, *rest = data
    grad = jax.grad(lambda s: -2.5 * fused_token_loss(everything, s, *rest, LossSharding(8))[0])(student)
    close(grad, jax.grad(lambda s: -2.5 * whole(s, *rest)[0])(student))


def test_float64_brute_force_of_the_paper_formula(data):
    student, (teacher, _), _, weights = data

    def logp(stream):
        x = np.float64(stream.hidden_ND) @ np.float64(stream.head_DV)
        x = x - x.max(1, keepdims=True)
        return x - np.log(np.exp(x).sum(1, keepdims=True))

    s, t = logp(student), logp(teacher)
    slope = np.float64(weights)[:, None] * (np.exp(s) - np.exp(t))
    loss, grad = jax.value_and_grad(
        lambda x: fused_token_loss(forward_kl, x, (teacher,), {}, weights, LossSharding(9))[0]
    )(student)
    np.testing.assert_allclose(loss, np.sum(weights * (np.exp(t) * (t - s)).sum(1)), rtol=1e-5)
    np.testing.assert_allclose(grad.hidden_ND, slope @ np.float64(student.head_DV).T, atol=1e-5)
    np.testing.assert_allclose(grad.head_DV, np.float64(student.hidden_ND).T @ slope, atol=1e-5)


def test_nothing_but_the_student_gets_a_gradient(data):
    student, frozen, token, weights = data
    grads = jax.grad(
        lambda f, a, w: fused_token_loss(everything, student, f, {**token, "advantage": a}, w, LossSharding(8))[0],
        argnums=(0, 1, 2),
    )(frozen, token["advantage"], weights)
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(grads))


def test_a_teacher_equal_to_the_student_gives_zero_loss_and_gradient(data):
    student, _, _, weights = data
    loss, grad = jax.value_and_grad(
        lambda s: fused_token_loss(forward_kl, s, (student,), {}, weights, LossSharding(8))[0]
    )(student)
    assert abs(loss) < 1e-6 and max(np.abs(g).max() for g in jax.tree.leaves(grad)) < 1e-6


def test_low_precision_streams_keep_a_float32_loss_and_head_gradient(data):
    student, (teacher, _), _, weights = data
    low = Stream(student.hidden_ND.astype(jnp.bfloat16), student.head_DV)
    loss, grad = jax.value_and_grad(
        lambda s: fused_token_loss(forward_kl, s, (teacher,), {}, weights, LossSharding(8))[0]
    )(low)
    assert (loss.dtype, grad.hidden_ND.dtype, grad.head_DV.dtype) == (jnp.float32, jnp.bfloat16, jnp.float32)


@pytest.mark.parametrize("shape", [(8, 1, 1), (1, 8, 1), (2, 2, 2)])
def test_eight_devices_with_a_vocabulary_that_does_not_divide(data, shape):
    mesh = jax.make_mesh(shape, ("data", "fsdp", "tensor"), axis_types=(AxisType.Auto,) * 3)
    student, *rest = jax.device_put(data, NamedSharding(mesh, P()))
    spread = over_mesh(mesh, chunk=2)
    fused = jax.jit(jax.value_and_grad(lambda s: fused_token_loss(everything, s, *rest, spread), has_aux=True))
    one_chip = jax.value_and_grad(lambda s: fused_token_loss(everything, s, *data[1:], LossSharding(8)), has_aux=True)
    close(jax.device_get(fused(student)), jax.device_get(one_chip(data[0])))


@pytest.mark.parametrize("shape", [(1, 8, 1), (1, 4, 2), (2, 2, 2)])
def test_no_device_holds_the_whole_head(shape):
    """Nor its gradient; with a vocabulary that does not divide by the devices."""
    mesh = jax.make_mesh(shape, ("data", "fsdp", "tensor"), axis_types=(AxisType.Auto,) * 3)
    width, vocab, spread = 16, 1012, over_mesh(mesh, chunk=2)
    hidden = jax.ShapeDtypeStruct((32, width), jnp.float32, sharding=NamedSharding(mesh, P(("data", "fsdp"))))
    stored = NamedSharding(mesh, P("fsdp", "tensor"))
    head = jax.ShapeDtypeStruct((width, vocab), jnp.float32, sharding=stored)

    def gradient(student, teacher):
        loss = lambda s: fused_token_loss(forward_kl, s, (teacher,), {}, jnp.ones(32), spread)  # noqa: E731
        return jax.lax.with_sharding_constraint(jax.grad(lambda s: loss(s)[0])(student).head_DV, stored)

    text = jax.jit(gradient).lower(Stream(hidden, head), Stream(hidden, head)).compile().as_text()
    sizes = [math.prod(map(int, dims.split(","))) for dims in re.findall(r"f32\[([\d,]+)\]", text)]
    assert max(sizes) < width * vocab / 2 and "all-to-all" in text


def problem(tokens, width, vocab):
    hidden, head = (jax.ShapeDtypeStruct(s, jnp.float32) for s in ((tokens, width), (width, vocab)))
    weights = jax.ShapeDtypeStruct((tokens,), jnp.float32)

    def gradient(student_ND, head_DV, teacher_ND, weights_N):
        def loss(student_ND, head_DV):
            teacher = Stream(teacher_ND, head_DV)
            return fused_token_loss(
                forward_kl, Stream(student_ND, head_DV), (teacher,), {}, weights_N, LossSharding(512)
            )[0]

        return jax.value_and_grad(loss, argnums=(0, 1))(student_ND, head_DV)

    return gradient, (hidden, head, hidden, weights)


def test_head_work_is_four_products_for_student_teacher_and_gradients():
    tokens, width, vocab = 4096, 256, 151_936
    gradient, shapes = problem(tokens, width, vocab)
    assert matmul_flops(jaxpr_of(gradient, *shapes)) / (2 * tokens * width * vocab) <= 4.1


def test_no_intermediate_holds_the_vocabulary_and_more_than_a_chunk_of_tokens():
    gradient, shapes = problem(4096, 256, 151_936)
    rows = {v.size_bytes // 4 // 151_936 for v in values(jaxpr_of(gradient, *shapes)) if 151_936 in v.shape}
    assert max(rows) == 512  # a chunk of tokens; the head and its gradient have 256 rows


@pytest.mark.parametrize("vocab", [151_936])
def test_memory_does_not_grow_with_tokens_times_vocabulary(vocab):
    temp = {}
    for tokens in (1024, 4096):
        gradient, shapes = problem(tokens, 256, vocab)
        temp[tokens] = jax.jit(gradient).lower(*shapes).compile().memory_analysis().temp_size_in_bytes
    assert temp[4096] - temp[1024] < 0.02 * 4 * vocab * (4096 - 1024)


def test_unequal_token_counts_are_refused(data):
    student, frozen, token, weights = data
    with pytest.raises(ValueError, match="24 tokens"):
        fused_token_loss(everything, student, frozen, {**token, "id": token["id"][:5]}, weights)


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
def test_equals_trl_chunked_divergence(data):
    torch = pytest.importorskip("torch", reason="torch is a test-only dependency")
    trl = pytest.importorskip(
        "trl.trainer.distillation_trainer", reason="trl is a test-only dependency", exc_type=ImportError
    )
    student, (teacher, _), _, _ = data
    args = [torch.tensor(np.array(x)) for x in (student.hidden_ND, teacher.hidden_ND)]
    args += [torch.tensor(np.array(x.T), requires_grad=False) for x in (student.head_DV, teacher.head_DV)]
    for x in args[:1] + args[2:3]:
        x.requires_grad_()
    expected = trl._chunked_divergence_loss(*args, torch.ones(N, dtype=torch.bool), 0.0)[0]
    expected.backward()
    loss, grad = jax.value_and_grad(
        lambda s: fused_token_loss(forward_kl, s, (teacher,), {}, jnp.full(N, 1 / N), LossSharding(8))[0]
    )(student)
    close(loss, expected.item())
    close((grad.hidden_ND, grad.head_DV.T), (args[0].grad.numpy(), args[2].grad.numpy()))

"""Attention: the reference against its definition, the kernel against the reference, split keys against whole ones."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hsd_jax.errors import InputError
from models.attention import (
    NO_KEY_LSE,
    attend_with_lse,
    attention_for,
    bidirectional_attention,
    merge_attention,
    on_mesh,
    reference_attention,
    splash_attention,
    visible,
)
from models.sharding import make_mesh

Arrays = tuple[jax.Array, ...]


def random_qkv(queries: int, keys: int, *, batch: int = 2, heads: int = 4, kv_heads: int = 2, size: int = 32) -> Arrays:
    shapes = ((batch, queries, heads, size), (batch, keys, kv_heads, size), (batch, keys, kv_heads, size))
    rng = np.random.default_rng(0)
    return tuple(jnp.asarray(rng.standard_normal(shape), jnp.float32) for shape in shapes)


def segments_of(queries: int, keys: int) -> Arrays:
    """Five pads on the left, two segments, three pads on the right; the queries are the last of the keys."""
    keys_X = np.repeat([-1, 0, 1, -1], [5, keys // 2 - 5, keys - keys // 2 - 3, 3])
    keys_BX = jnp.asarray(np.tile(keys_X[None], (2, 1)))
    return keys_BX[:, keys - queries :], keys_BX


def by_definition(q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Softmax attention in float64, one query at a time."""
    out, lse = np.zeros(q.shape), np.full(q.shape[:3], -np.inf)
    for b, s, n in np.ndindex(*q.shape[:3]):
        seen = np.flatnonzero(mask[b, s])
        if len(seen):
            head = n // (q.shape[2] // k.shape[2])
            scores = k[b, seen, head].astype(np.float64) @ q[b, s, n] / np.sqrt(q.shape[-1])
            lse[b, s, n] = np.log(np.exp(scores).sum())
            out[b, s, n] = np.exp(scores - lse[b, s, n]) @ v[b, seen, head]
    return out, lse


def test_reference_is_the_definition():
    q, k, v = random_qkv(7, 11, size=8)
    mask = np.random.default_rng(4).random((2, 7, 11)) < 0.4
    mask[0, 3] = False
    out, lse = jax.jit(attend_with_lse)(q, k, v, mask)
    wanted_out, wanted_lse = by_definition(*map(np.asarray, (q, k, v, mask)))
    np.testing.assert_allclose(out, wanted_out, atol=1e-5)
    some = np.isfinite(wanted_lse)
    np.testing.assert_allclose(np.asarray(lse)[some], wanted_lse[some], atol=1e-5)
    assert (np.asarray(lse)[0, 3] == np.float32(NO_KEY_LSE)).all() and (np.asarray(out)[0, 3] == 0).all()


def test_visible_aligns_queries_with_the_last_keys():
    got = visible(jnp.array([[0, 0, -1]]), jnp.array([[0, 1, 0, 0, -1]]))
    assert got.astype(int).tolist() == [[[1, 0, 1, 0, 0], [1, 0, 1, 1, 0], [0, 0, 0, 0, 1]]]


def loss_and_gradients(attention: Callable[..., jax.Array], qkv: Arrays, segments: Arrays) -> tuple:
    """What the kernel must reproduce: outputs at valid queries, and gradients through them."""
    valid = (segments[0] >= 0)[..., None, None]

    def loss(q: jax.Array, k: jax.Array, v: jax.Array) -> tuple[jax.Array, jax.Array]:
        out = jnp.where(valid, attention(q, k, v, *segments), 0.0)
        return jnp.sum(jnp.sin(out) * jnp.arange(1.0, out.shape[-1] + 1)[None, None, None]), out

    (_, out), gradients = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True))(*qkv)
    return out, gradients


@pytest.mark.parametrize(("queries", "keys"), [(100, 100), (60, 200)])
def test_splash_kernel_equals_reference_forward_and_backward(queries: int, keys: int):
    qkv, segments = random_qkv(queries, keys), segments_of(queries, keys)
    wanted = loss_and_gradients(reference_attention, qkv, segments)
    got = loss_and_gradients(splash_attention(block=128, interpret=True), qkv, segments)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=3e-5), wanted, got)
    assert all(float(jnp.max(jnp.abs(g))) > 0.1 for g in wanted[1])


def test_kernel_runs_by_rows_and_heads_on_a_mesh():
    mesh = make_mesh(1, 2, 2, jax.devices()[:4])
    qkv, segments = random_qkv(40, 40), segments_of(40, 40)
    wanted = loss_and_gradients(reference_attention, qkv, segments)
    got = loss_and_gradients(on_mesh(splash_attention(interpret=True), mesh), qkv, segments)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=3e-5), wanted, got)


def test_merging_two_halves_is_attention_over_the_whole():
    q, k, v = random_qkv(6, 16, size=8)
    mask = np.random.default_rng(1).random((2, 6, 16)) < 0.5
    mask[:, 0, :8], mask[:, 1] = False, False

    def whole(q: jax.Array, k: jax.Array, v: jax.Array) -> Arrays:
        return attend_with_lse(q, k, v, mask)

    def merged(q: jax.Array, k: jax.Array, v: jax.Array) -> Arrays:
        left = attend_with_lse(q, k[:, :8], v[:, :8], mask[..., :8])
        return merge_attention(*left, *attend_with_lse(q, k[:, 8:], v[:, 8:], mask[..., 8:]))

    def results(attend: Callable[..., Arrays]) -> tuple[Arrays, Arrays]:
        gradients = jax.grad(lambda *x: jnp.sum(jnp.sin(attend(*x)[0])), (0, 1, 2))(q, k, v)
        return attend(q, k, v), gradients

    wanted, got = (jax.jit(results, static_argnums=0)(f) for f in (whole, merged))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(got))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-5), wanted, got)


def test_platforms():
    assert attention_for("cpu") is reference_attention
    with pytest.raises(InputError, match=r"platform = 'npu', allowed: \['cpu', 'gpu', 'tpu'\]"):
        attention_for("npu")


def test_bidirectional_attention_sees_all_keys_of_its_segment():
    q, k, v = random_qkv(20, 20)
    segments_BS, _ = segments_of(20, 20)
    mask = np.asarray(segments_BS)[:, :, None] == np.asarray(segments_BS)[:, None, :]
    out, _ = by_definition(*map(np.asarray, (q, k, v)), mask)
    np.testing.assert_allclose(bidirectional_attention(q, k, v, segments_BS, segments_BS), out, atol=1e-5)

"""The cost of a program read from its jaxpr, against counts by hand."""

import jax
import jax.numpy as jnp
import pytest

from hsd_jax.planning.jaxpr_cost import jaxpr_of, largest, matmul_flops

A = jax.ShapeDtypeStruct((3, 4), jnp.float32)
B = jax.ShapeDtypeStruct((4, 5), jnp.float32)


def test_a_product_counts_two_per_multiplication():
    assert matmul_flops(jaxpr_of(jnp.matmul, A, B)) == 2 * 3 * 4 * 5


def test_batched_products_count_every_batch():
    x = jax.ShapeDtypeStruct((7, 3, 4), jnp.float32)
    assert matmul_flops(jaxpr_of(lambda x, b: jnp.einsum("nij,jk->nik", x, b), x, B)) == 7 * 2 * 3 * 4 * 5


def test_scan_bodies_count_length_times_also_nested():
    def loop(a, b):
        def inner(carry, _):
            return carry + a @ b, None

        def outer(carry, _):
            return jax.lax.scan(inner, carry, None, length=4)[0], None

        return jax.lax.scan(outer, jnp.zeros((3, 5)), None, length=6)[0]

    assert matmul_flops(jaxpr_of(jax.jit(loop), A, B)) == 24 * 2 * 3 * 4 * 5


def test_gradients_and_rematerialization_are_seen():
    def loss(a, b):
        return jnp.sum(jnp.sin(a @ b))

    plain = matmul_flops(jaxpr_of(jax.grad(loss, argnums=(0, 1)), A, B))
    remat = matmul_flops(jaxpr_of(jax.grad(jax.checkpoint(loss), argnums=(0, 1)), A, B))
    assert (plain, remat) == (3 * 120, 4 * 120)


def test_a_while_loop_with_products_is_refused_and_a_fixed_trip_loop_counted():
    def loop(stop, a):
        return jax.lax.fori_loop(0, stop, lambda _, x: x @ jnp.ones((4, 4)), a)

    with pytest.raises(ValueError, match="trip count"):
        matmul_flops(jaxpr_of(loop, jax.ShapeDtypeStruct((), jnp.int32), A))
    assert matmul_flops(jaxpr_of(lambda a: loop(5, a), A)) == 5 * 2 * 3 * 4 * 4


def test_largest_names_the_biggest_intermediate():
    found = largest(jaxpr_of(lambda a, b: jnp.sum(a[:, :, None] * b[None]), A, B))
    assert found.shape == (3, 4, 5) and found.size_bytes == 240

"""The model: parity with recorded logits, invariances, precision, remat policies."""

from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hsd_jax.errors import InputError
from models import hf
from models.attention import reference_attention
from models.families import rms_norm
from models.qwen3 import (
    LayerHooks,
    Params,
    Qwen3,
    Qwen3Config,
    attend_to_self,
    cast,
    forward,
    init_params,
    layer,
    logits,
    params_of,
    positions_of,
    run_layers,
)
from models.scan import POLICIES, Compute
from tests.support.random_qwen3 import GOLDEN_CASES, hf_config, hf_weights, padded_batch, write_hf
from tests.support.tiny_config import tiny_config

GOLDEN = Path(__file__).parent / "golden"
CONFIG = Qwen3Config.from_hf(hf_config())
LENGTH = 14


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Qwen3:
    """A tiny model with weights large enough that everything matters."""
    return hf.load(write_hf(tmp_path_factory.mktemp("model"), hf_config(), hf_weights(hf_config())))


@pytest.fixture(scope="module")
def run(model: Qwen3):
    """(tokens, valid, segments) [3, 14] -> logits, compiled once."""
    call = jax.jit(lambda params, t, v, s: logits(params, forward(CONFIG, params, t, v, segments_BS=s)))

    def run(tokens: np.ndarray, valid: np.ndarray, segments: np.ndarray | None = None) -> np.ndarray:
        segments = np.zeros(tokens.shape, np.int32) if segments is None else segments
        return np.asarray(call(params_of(model), tokens, valid, segments))

    return run


@pytest.mark.parametrize("name", GOLDEN_CASES)
def test_logits_equal_those_recorded_from_transformers(name: str, tmp_path: Path):
    config = GOLDEN_CASES[name]
    model = hf.load(write_hf(tmp_path, config, hf_weights(config)))
    tokens, valid = padded_batch(config["vocab_size"])
    got = np.asarray(model(jnp.asarray(tokens), valid_BS=jnp.asarray(valid)))
    wanted = np.load(GOLDEN / "qwen3.npz")[name]
    scale = np.abs(wanted).max()
    assert scale > 3  # the comparison would mean little between logits near zero
    assert np.abs(got - wanted)[valid].max() <= 1e-5 * scale


def test_a_row_depends_on_nothing_but_its_valid_tokens(run):
    tokens, valid = padded_batch(97)
    base = run(tokens, valid)
    other_pads = np.where(valid, tokens, (tokens + 31) % 97)
    np.testing.assert_allclose(run(other_pads, valid)[valid], base[valid], atol=1e-5)
    other_rows = tokens.copy()
    other_rows[:2] = (other_rows[:2] + 13) % 97
    np.testing.assert_allclose(run(other_rows, valid)[2][valid[2]], base[2][valid[2]], atol=1e-5)


def test_pads_may_have_any_width_on_either_side(run):
    real = padded_batch(97)[0][0, :8]
    rows = np.zeros((3, LENGTH), np.int32)
    valid = np.zeros((3, LENGTH), bool)
    for row, start in enumerate((0, 3, LENGTH - 8)):
        rows[row, start : start + 8], valid[row, start : start + 8] = real, True
    got = run(rows, valid)[valid].reshape(3, 8, -1)
    np.testing.assert_allclose(got[1], got[0], atol=1e-5)
    np.testing.assert_allclose(got[2], got[0], atol=1e-5)


def test_packed_segments_equal_separate_rows(run):
    tokens = padded_batch(97)[0]
    valid = np.ones((3, LENGTH), bool)
    valid[2] = False
    valid[0, 9:], valid[1, 5:] = False, False
    alone = run(tokens, valid)
    packed, segments = np.zeros((3, LENGTH), np.int32), np.full((3, LENGTH), 7, np.int32)
    packed[0, :9], segments[0, :9] = tokens[0, :9], 3
    packed[0, 9:14], segments[0, 9:14] = tokens[1, :5], 1
    got = run(packed, np.arange(3)[:, None] == np.zeros((1, LENGTH)), segments)
    np.testing.assert_allclose(got[0, :9], alone[0, :9], atol=1e-5)
    np.testing.assert_allclose(got[0, 9:14], alone[1, :5], atol=1e-5)


def test_positions_restart_in_each_segment_and_pads_take_none():
    valid = jnp.array([[0, 1, 1, 0, 1, 1, 0, 1]], bool)
    segments = jnp.array([[0, 0, 0, 0, 0, 1, 1, 1]])
    assert positions_of(valid, segments).tolist() == [[0, 0, 1, 2, 2, 0, 1, 1]]


def test_no_token_sees_what_follows_it(model: Qwen3):
    params, tokens = params_of(model), jnp.asarray(padded_batch(97)[0][:1])
    probe = 6

    def seen(table_VD: jax.Array) -> jax.Array:
        rows = table_VD[tokens]

        def at(rows: jax.Array) -> jax.Array:
            swapped = params | {"embed_VD": rows[0]}
            index = jnp.arange(LENGTH)[None]
            return jnp.sum(forward(CONFIG, swapped, index, jnp.ones((1, LENGTH), bool))[0, probe] ** 2)

        return jnp.abs(jax.grad(at)(rows)).sum(axis=(0, 2))

    influence = np.asarray(jax.jit(seen)(params["embed_VD"]))
    assert (influence[: probe + 1] > 0).all()
    assert (influence[probe + 1 :] == 0).all()


@pytest.fixture(scope="module")
def gradient(model: Qwen3):
    """remat -> gradient of a loss over the hidden states."""
    tokens = jnp.asarray(padded_batch(97)[0][:1, :6])

    @cache
    def gradient(remat: str) -> dict:
        loss = lambda p: jnp.mean(forward(CONFIG, p, tokens, tokens >= 0, how=Compute(remat=remat)) ** 2)  # noqa: E731
        return jax.jit(jax.grad(loss))(params_of(model))

    return gradient


@pytest.mark.parametrize("policy", [name for name in POLICIES if name != "none"])
def test_every_remat_policy_gives_the_same_gradient(gradient, policy: str):
    wanted, got = gradient("none"), gradient(policy)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), wanted, got)


def test_remat_stores_less(model: Qwen3):
    config = Qwen3Config.from_hf(hf_config(num_hidden_layers=8))
    tokens = jnp.zeros((4, 64), jnp.int32)
    params = jax.eval_shape(lambda: init_params(config, jax.random.key(0)))

    def temp_bytes(remat: str) -> int:
        loss = lambda p: jnp.mean(forward(config, p, tokens, tokens == 0, how=Compute(remat=remat)) ** 2)  # noqa: E731
        return jax.jit(jax.grad(loss)).lower(params).compile().memory_analysis().temp_size_in_bytes

    assert temp_bytes("full") < 0.7 * temp_bytes("none")


def test_unknown_remat_is_refused(model: Qwen3):
    with pytest.raises(InputError, match=r"remat = 'some', allowed: none, "):
        forward(
            CONFIG, params_of(model), jnp.zeros((1, 2), jnp.int32), jnp.ones((1, 2), bool), how=Compute(remat="some")
        )


def test_precision_is_as_stated(model: Qwen3):
    tokens, valid = (jnp.asarray(x) for x in padded_batch(97))
    params = params_of(model)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    seen = []

    def spy(q, k, v, q_segments, k_segments):
        seen.append((q.dtype, k.dtype, v.dtype))
        return reference_attention(q, k, v, q_segments, k_segments)

    hidden = forward(CONFIG, params, tokens, valid, attention=spy, how=Compute(jnp.bfloat16))
    assert seen == [(jnp.bfloat16,) * 3]
    assert hidden.dtype == jnp.bfloat16
    low, high = logits(params, hidden), model(tokens, valid_BS=valid)
    assert low.dtype == high.dtype == jnp.float32
    error = float(jnp.max(jnp.abs(low - high)[valid]))
    assert 1e-4 < error < 0.1 * float(jnp.max(jnp.abs(high)))


def test_weights_that_were_cast_before_compute_the_same_to_the_bit():
    """So a frozen copy in bfloat16 is the policy's very reference: its KL is zero before any update."""

    def finer(path, x):
        noise = 0.01 * jax.random.normal(jax.random.key(len(str(path))), x.shape)
        return x * (1 + noise) if "norm" in path[-1].key else x

    config = tiny_config(layers=1)
    params = jax.tree.map_with_path(finer, init_params(config, jax.random.key(0)))
    tokens, valid = (jnp.asarray(x) for x in padded_batch(config.vocab_size))

    @jax.jit
    def outputs(params):
        return logits(params, forward(config, params, tokens, valid, how=Compute(jnp.bfloat16)))

    wanted = np.asarray(outputs(params))
    np.testing.assert_array_equal(outputs(cast(params, jnp.bfloat16)), wanted)


def test_norms_are_computed_in_float32():
    x = jax.random.normal(jax.random.key(0), (4, 4096)) * 3
    scale = 1 + jnp.arange(4096, dtype=jnp.float32) * 2.0**-16  # finer than bfloat16 can tell
    wanted = np.asarray(x.astype(jnp.bfloat16), np.float64)
    wanted = wanted / np.sqrt((wanted**2).mean(-1, keepdims=True)) * np.asarray(scale, np.float64)
    got = np.asarray(rms_norm(x.astype(jnp.bfloat16), scale, 0.0), np.float64)
    # one rounding, at the end: half a unit in the last of 8 bits
    assert (np.abs(got - wanted) <= 2.0**-8 * np.abs(wanted) * 1.001).all()


def test_initial_weights_have_no_zero_block():
    params = jax.jit(lambda key: init_params(CONFIG, key))(jax.random.key(3))
    for path, leaf in jax.tree.leaves_with_path(params):
        assert float(jnp.mean(leaf == 0)) < 0.01, path
    assert not np.array_equal(params["layers"]["q_LDNH"][0], params["layers"]["q_LDNH"][1])


def test_layers_take_arrays_of_the_caller_and_hand_out_what_it_wants(model: Qwen3):
    """Hidden states after every layer, and the effect of values shifted in one layer alone, against a plain loop."""
    tokens, valid = (jnp.asarray(x) for x in padded_batch(97))
    positions = positions_of(valid, jnp.zeros(tokens.shape, jnp.int32))
    plain = attend_to_self(reference_attention, valid, jnp.zeros(tokens.shape, jnp.int32))
    shift_L = jnp.arange(CONFIG.layers) * 0.5

    @jax.jit
    def all_ways(params: Params) -> tuple:
        hooks = LayerHooks(lambda shift: lambda q, k, v: plain(q, k, v + shift), shift_L, lambda x, _: x)
        x, loop = params["embed_VD"][tokens], []
        for i in range(CONFIG.layers):
            weights = {name: w[i] for name, w in params["layers"].items()}
            x, _ = layer(CONFIG, weights, x, positions, lambda q, k, v, i=i: plain(q, k, v + shift_L[i]))
            loop.append(x)
        unshifted = run_layers(CONFIG, params, tokens, positions, LayerHooks(lambda _: plain))[0]
        ordinary = forward(CONFIG, params, tokens, valid)
        return run_layers(CONFIG, params, tokens, positions, hooks), jnp.stack(loop), unshifted, ordinary

    (hidden, kept_LBSD), loop_LBSD, unshifted, ordinary = all_ways(params_of(model))
    np.testing.assert_allclose(kept_LBSD, loop_LBSD, atol=1e-5)
    last = rms_norm(loop_LBSD[-1], params_of(model)["final_norm_D"], CONFIG.norm_eps)
    np.testing.assert_allclose(hidden, last, atol=1e-5)
    np.testing.assert_array_equal(unshifted, ordinary)
    assert float(jnp.abs(hidden - unshifted).max()) > 0.01

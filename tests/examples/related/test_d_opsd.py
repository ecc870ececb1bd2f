"""d-OPSD's model, denoising, revealed future and loss against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from examples.related import d_opsd
from examples.related.d_opsd import Batch, Prompts
from tests.support.numpy_oracles import log_softmax
from tests.support.numpy_qwen3 import CONFIG, random_params, run

MASK, PROMPT = 22, 5


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Responses of eight places in two blocks, two at a step; the teacher's four likeliest tokens."""
    for name, value in {"RESPONSE": 8, "BLOCK": 4, "DENOISE": 4, "TOP": 4}.items():
        monkeypatch.setattr(d_opsd, name, value)


def prompts(rows: int) -> Prompts:
    """The second prompt is shorter."""
    tokens = np.random.default_rng(7).integers(0, 20, (rows, PROMPT)).astype(np.int32)
    valid = np.arange(PROMPT)[None] >= np.where(np.arange(rows) == 1, 2, 0)[:, None]
    return Prompts(jnp.asarray(tokens), jnp.asarray(valid))


def logp(params, read: Prompts, row: int, z: np.ndarray) -> np.ndarray:
    """Of every place of the response, read at the place before; nothing is hidden from anything."""
    ids = np.asarray(read.tokens_BC[row])[np.asarray(read.valid_BC[row])]
    return run(params, np.concatenate([ids, z]), np.zeros((len(ids) + 8,) * 2)).logp[len(ids) - 1 : -1]


def test_every_place_sees_both_sides() -> None:
    params, read = random_params(1), prompts(2)
    z = np.random.default_rng(0).integers(0, 23, (2, 8)).astype(np.int32)
    got = jax.jit(d_opsd.predict, static_argnums=0)(CONFIG, params, read, z)
    for row in range(2):
        np.testing.assert_allclose(log_softmax(np.asarray(got[row])), logp(params, read, row, z[row]), atol=5e-3)


def test_denoising_fills_two_places_at_a_step_block_after_block() -> None:
    final, states = d_opsd.denoise(CONFIG, random_params(2), prompts(3), MASK, jax.random.key(0))
    filled = [*np.asarray(states), np.asarray(final)]
    assert (filled[0] == MASK).all() and not (filled[-1] == MASK).any()
    for n in range(4):
        new = (filled[n] == MASK) & (filled[n + 1] != MASK)
        assert (new.sum(axis=1) == 2).all() and not new[:, np.arange(8) // 4 != n // 2].any()
        np.testing.assert_array_equal(np.where(new, MASK, filled[n + 1]), filled[n])


def test_the_likeliest_of_what_was_drawn_is_filled_in() -> None:
    logits = jnp.zeros((1, 4, 23))
    for place, (token, logit) in enumerate([(3, 1.0), (4, 40.0), (5, 20.0), (MASK, 99.0)]):
        logits = logits.at[0, place, token].set(logit)
    z = jnp.full((1, 4), MASK)
    filled = jax.jit(d_opsd.fill_in, static_argnums=3)(logits, z, z == MASK, MASK, jax.random.key(0))
    assert filled.tolist() == [[MASK, 4, 5, MASK]]


def test_a_share_of_what_comes_after_the_block_is_revealed() -> None:
    z, final = jnp.full((40, 8), MASK), jnp.tile(jnp.arange(8), (40, 1))
    block = jnp.arange(40) % 2
    seen = np.asarray(d_opsd.reveal(z, final, block, 0.5, jax.random.key(0)))
    assert ((seen != MASK).sum(axis=1) == np.where(np.asarray(block) == 0, 2, 0)).all()
    assert not (seen[:, :4] != MASK).any()
    assert ((seen == MASK) | (seen == np.arange(8))).all() and (seen[::2, 4:] != MASK).any(axis=0).all()
    np.testing.assert_array_equal(d_opsd.reveal(z, final, block, 0.0, jax.random.key(0)), z)


def test_loss_is_the_formula() -> None:
    """Two trajectories, of which one was right; revealed everything (share 1), so that nothing is drawn."""
    params, frozen, read = random_params(3), random_params(4), prompts(2)
    final, states = d_opsd.denoise(CONFIG, params, read, MASK, jax.random.key(1))
    batch = Batch(read, read, states, final, jnp.asarray([0.0, 1.0]), jax.random.key(2))
    got = jax.jit(d_opsd.distill_loss(MASK, 1.0), static_argnums=0)(CONFIG, params, (frozen, batch))
    total, final, clipped = 0.0, np.asarray(final), 0
    for n, z in enumerate(np.asarray(states)[:, 1]):
        after = np.arange(8) // 4 > n // 2
        teacher = logits(frozen, read, 1, np.where(after, final[1], z))
        student = logits(params, read, 1, z)
        open_ = np.flatnonzero((z == MASK) & (np.arange(8) // 4 == n // 2))
        for i in sorted(open_, key=lambda i: -teacher[i].max())[:2]:
            top = np.argsort(-teacher[i])[:4]
            s, t = log_softmax(student[i, top]), log_softmax(teacher[i, top])
            entries = np.exp(s) * (s - t)
            clipped += int((entries > d_opsd.CLIP).sum())
            total += np.minimum(entries, d_opsd.CLIP).sum()
    assert clipped > 0
    assert float(got) == pytest.approx(total / 4 / 2, rel=2e-2, abs=1e-3)


def logits(params, read: Prompts, row: int, z: np.ndarray) -> np.ndarray:
    """Unnormalized, since the teacher's surest places are those of its largest logit."""
    ids = np.asarray(read.tokens_BC[row])[np.asarray(read.valid_BC[row])]
    final = run(params, np.concatenate([ids, z]), np.zeros((len(ids) + 8,) * 2)).final[len(ids) - 1 : -1]
    return final @ np.asarray(params["embed_VD"], np.float64).T


def test_pretraining_counts_masked_places_alone() -> None:
    params, read = random_params(5), prompts(2)
    rng = np.random.default_rng(1)
    final = rng.integers(0, 22, (2, 8)).astype(np.int32)
    z = np.where(rng.random((2, 8)) < 0.4, MASK, final)
    got = jax.jit(d_opsd.masked_loss, static_argnums=0)(CONFIG, params, (read, final, z))
    picked = [-logp(params, read, row, z[row])[i, final[row, i]] for row, i in np.argwhere(z == MASK)]
    assert float(got) == pytest.approx(np.mean(picked), rel=1e-3)


def test_masks_are_those_that_student_and_teacher_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing before a block is masked; after it everything in half of the rows, something in the others."""
    monkeypatch.setattr(d_opsd, "ROWS", 400)
    masks = d_opsd.masked_places(np.random.default_rng(0)).reshape(400, 2, 4)
    first = masks[masks[:, 0].any(axis=1)]
    assert len(first) == pytest.approx(200 * (1 - np.mean([(1 - u) ** 4 for u in np.linspace(0, 1, 1001)])), abs=40)
    whole = first[:, 1].all(axis=1).mean()
    assert 0.5 < whole < 0.8 and masks.any(axis=(1, 2)).mean() > 0.8

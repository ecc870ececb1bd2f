"""Parity with transformers on random weights, over a grid of tiny configurations of all families."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import hf
from tests.support.random_qwen3 import FAMILY_CASES, hf_config, hf_weights, padded_batch, write_hf

torch = pytest.importorskip("torch", reason="the oracle is transformers on torch; recorded logits cover its absence")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.oracle

GRID: dict[str, dict[str, Any]] = {
    "gqa 1": {"num_key_value_heads": 4},
    "gqa 2": {"num_key_value_heads": 2, "rope_theta": 1e4},
    "gqa 8, tied": {"num_attention_heads": 8, "num_key_value_heads": 1, "tie_word_embeddings": True},
    "wide heads, theta 5e6": {"head_dim": 24, "rope_theta": 5e6, "vocab_size": 131},
    "narrow heads, tied, odd vocabulary": {"head_dim": 4, "tie_word_embeddings": True, "vocab_size": 103},
    "deep, other epsilon": {
        "num_hidden_layers": 5,
        "rms_norm_eps": 1e-5,
        "rope_theta": 1e4,
        "tie_word_embeddings": True,
    },
}


def oracle(directory: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(directory, dtype="float32", attn_implementation="eager")


CASES = {name: hf_config(**changes) for name, changes in GRID.items()} | FAMILY_CASES


@pytest.mark.parametrize("name", CASES)
def test_logits(name: str, tmp_path: Path):
    config = CASES[name]
    directory = write_hf(tmp_path, config, hf_weights(config))
    model, theirs = hf.load(directory), oracle(directory)
    tokens, valid = padded_batch(config["vocab_size"])
    segments = np.zeros((4, 14), np.int32)
    segments[3, 6:] = 1
    rows = np.concatenate([tokens, tokens[:1]])
    all_valid = np.concatenate([valid, np.ones((1, 14), bool)])
    run = jax.jit(lambda t, v, s: model(t, valid_BS=v, segments_BS=s))
    got = np.asarray(run(rows, all_valid, segments))

    def their(tokens: np.ndarray, valid: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            mask = torch.tensor(valid.astype(np.int64))
            return theirs(torch.tensor(tokens, dtype=torch.long), attention_mask=mask).logits.numpy()

    wanted = their(tokens, valid)
    packed = [their(rows[3:, part], all_valid[3:, part])[0] for part in (slice(6), slice(6, 14))]
    scale = np.abs(wanted).max()
    bound = min(2e-4, 1e-5 * scale)
    assert np.abs(got[:3] - wanted)[valid].max() <= bound
    assert np.abs(got[3] - np.concatenate(packed)).max() <= bound


@pytest.mark.parametrize("name", FAMILY_CASES)
def test_saved_directories_of_other_families_load_in_transformers(name: str, tmp_path: Path):
    model = hf.load(write_hf(tmp_path / "source", FAMILY_CASES[name], hf_weights(FAMILY_CASES[name])))
    hf.save(model, tmp_path / "copy")
    theirs, loading = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "copy", output_loading_info=True)
    assert not loading["missing_keys"] and not loading["unexpected_keys"]
    tokens = np.arange(40)[None] * 7 % 97
    wanted = theirs(torch.tensor(tokens)).logits.detach().numpy()
    assert np.abs(np.asarray(model(jnp.asarray(tokens))) - wanted).max() <= 2e-5 * np.abs(wanted).max()


def test_64_greedy_tokens_are_identical(tmp_path: Path):
    config = hf_config(num_hidden_layers=3, vocab_size=131)
    directory = write_hf(tmp_path, config, hf_weights(config, seed=5))
    model, theirs = hf.load(directory), oracle(directory)
    prompt = padded_batch(131)[0][0, :8]
    with torch.no_grad():
        ids = torch.tensor(prompt[None], dtype=torch.long)
        wanted = theirs.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=64,
            min_new_tokens=64,
            pad_token_id=0,
        )[0].tolist()
    step = jax.jit(lambda row, n: jnp.argmax(model(row, valid_BS=jnp.arange(72)[None] < n)[0, n - 1]))
    row = np.zeros((1, 72), np.int32)
    row[0, :8] = prompt
    for n in range(8, 72):
        row[0, n] = int(step(row, n))
    assert row[0].tolist() == wanted
    assert len(set(wanted)) > 10

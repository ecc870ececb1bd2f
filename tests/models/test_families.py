"""Llama and Qwen2: parity with a decoder written in NumPy, files to the bit, sampling and training as Qwen3."""

import json
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from hsd_jax.sampler.sampler import Capacity, Requests, decode_params, make_sampler_config, sample, sampling_params
from hsd_jax.types import Padded
from models import hf
from models.config import FAMILIES
from models.families import HEADS, frequencies
from models.qwen3 import Qwen3Config, params_of
from models.sharding import make_mesh
from tests.support.random_qwen3 import FAMILY_CASES, hf_weights, padded_batch, write_hf


def np_norm(x: np.ndarray, scale: np.ndarray, eps: float) -> np.ndarray:
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + eps) * scale


def np_frequencies(raw: dict[str, Any], size: int) -> np.ndarray:
    """Wavelength by wavelength, as the release of Llama 3.1 words it."""
    found = []
    scaling = raw.get("rope_scaling")
    for i in range(size // 2):
        f = raw["rope_theta"] ** (-2 * i / size)
        if scaling:
            wavelength, old = 2 * math.pi / f, scaling["original_max_position_embeddings"]
            if wavelength > old / scaling["low_freq_factor"]:
                f /= scaling["factor"]
            elif wavelength >= old / scaling["high_freq_factor"]:
                low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
                smooth = (old / wavelength - low) / (high - low)
                f = (1 - smooth) * f / scaling["factor"] + smooth * f
        found.append(f)
    return np.array(found)


def np_rotate(x_SNH: np.ndarray, frequencies_H: np.ndarray) -> np.ndarray:
    half = x_SNH.shape[-1] // 2
    turned = (x_SNH[..., :half] + 1j * x_SNH[..., half:]) * np.exp(
        1j * np.arange(len(x_SNH))[:, None, None] * frequencies_H
    )
    return np.concatenate([turned.real, turned.imag], axis=-1)


def np_attention(raw: dict[str, Any], w: dict[str, np.ndarray], h_SD: np.ndarray) -> np.ndarray:
    heads, keys = raw["num_attention_heads"], raw["num_key_value_heads"]
    q, k, v = (h_SD @ w[f"{x}_proj.weight"].T + w.get(f"{x}_proj.bias", 0.0) for x in "qkv")
    size = q.shape[1] // heads
    f = np_frequencies(raw, size)
    q = np_rotate(q.reshape(-1, heads, size), f)
    k = np_rotate(k.reshape(-1, keys, size), f).repeat(heads // keys, axis=1)
    v = v.reshape(-1, keys, size).repeat(heads // keys, axis=1)
    scores = np.einsum("snh,xnh->nsx", q, k) / math.sqrt(size)
    scores = np.where(np.tril(np.ones(scores.shape[1:])), scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    out = np.einsum("nsx,xnh->snh", weights / weights.sum(-1, keepdims=True), v)
    return out.reshape(len(out), -1) @ w["o_proj.weight"].T


def np_logits(raw: dict[str, Any], weights: dict[str, np.ndarray], tokens_S: np.ndarray) -> np.ndarray:
    """The decoder in float64."""
    w = {name.removeprefix("model."): value.astype(np.float64) for name, value in weights.items()}
    x, eps = w["embed_tokens.weight"][tokens_S], raw["rms_norm_eps"]
    for i in range(raw["num_hidden_layers"]):
        own = {name.removeprefix(f"layers.{i}."): value for name, value in w.items() if name.startswith(f"layers.{i}.")}
        attention = {name.removeprefix("self_attn."): value for name, value in own.items() if "self_attn" in name}
        x = x + np_attention(raw, attention, np_norm(x, own["input_layernorm.weight"], eps))
        h = np_norm(x, own["post_attention_layernorm.weight"], eps)
        gate, up = (h @ own[f"mlp.{name}_proj.weight"].T for name in ("gate", "up"))
        x = x + (gate / (1 + np.exp(-gate)) * up) @ own["mlp.down_proj.weight"].T
    head = w["embed_tokens.weight"] if raw["tie_word_embeddings"] else w["lm_head.weight"]
    return np_norm(x, w["norm.weight"], eps) @ head.T


@pytest.mark.parametrize("name", FAMILY_CASES)
def test_logits_equal_a_decoder_in_numpy(name: str, tmp_path: Path):
    raw = FAMILY_CASES[name]
    weights = hf_weights(raw)
    model = hf.load(write_hf(tmp_path / "source", raw, weights))
    tokens, valid = padded_batch(raw["vocab_size"])
    got = np.asarray(model(jnp.asarray(tokens), valid_BS=jnp.asarray(valid)))
    for row, real in enumerate(valid):
        wanted = np_logits(raw, weights, tokens[row][real])
        assert np.abs(wanted).max() > 3
        assert np.abs(got[row][real] - wanted).max() <= 2e-5 * np.abs(wanted).max()
    hf.save(model, tmp_path / "copy")
    copy = load_file(tmp_path / "copy/model.safetensors")
    assert {name: value.tobytes() for name, value in copy.items()} == {n: v.tobytes() for n, v in weights.items()}
    written = json.loads((tmp_path / "copy/config.json").read_text())
    assert written["architectures"] == raw["architectures"]


def test_every_part_of_the_scaled_rotation_is_met():
    config = Qwen3Config.from_hf(FAMILY_CASES["llama, scaled rope"])
    ratio = np.asarray(frequencies(config)) * config.rope_theta ** (np.arange(4) / 4)
    assert ratio[0] == pytest.approx(1.0) and ratio[-1] == pytest.approx(1 / 8) and 1 / 8 < ratio[1] < 1


@pytest.mark.parametrize("name", ["llama, scaled rope", "qwen2"])
def test_a_mesh_loads_what_one_device_loads(name: str, tmp_path: Path):
    raw = FAMILY_CASES[name] | {"vocab_size": 96}
    directory = write_hf(tmp_path, raw, hf_weights(raw))
    alone, split = (params_of(hf.load(directory, mesh=mesh)) for mesh in (None, make_mesh(2, 2, 2)))
    jax.tree.map(np.testing.assert_array_equal, alone, split)


def test_the_families_of_files_are_those_of_the_mathematics():

    assert [*HEADS] == [*FAMILIES]


def test_decoding_gives_what_one_forward_pass_gives(tmp_path: Path):
    raw = FAMILY_CASES["qwen2"]
    model = hf.load(write_hf(tmp_path, raw, hf_weights(raw)))
    room = Capacity(8, 24, slots=2, chunk=8)
    program = make_sampler_config(model.config, room, vocabulary=raw["vocab_size"], pad_id=0)
    prompts = Padded(padded_batch(raw["vocab_size"])[0][:2, :8], np.array([8, 5], np.int32))
    asked = Requests(prompts, np.arange(2, dtype=np.uint32), np.full(2, 24, np.int32), 1, 0)
    weights = decode_params(params_of(model), config=model.config, dtype=program.dtype)
    rollouts = sample(program, weights, asked, sampling_params(temperature=0.0, stop_ids=(96,)), jax.random.key(0))
    for p, length in enumerate(prompts.length):
        response = np.asarray(rollouts.rollouts.response_PGT)[p, 0, : int(rollouts.rollouts.length_PG[p, 0])]
        whole = np.concatenate([np.asarray(prompts.tokens)[p, :length], response])
        logits = np_logits(raw, hf_weights(raw), whole)[length - 1 : -1]
        assert np.array_equal(logits.argmax(-1), response) and len(set(response.tolist())) > 4

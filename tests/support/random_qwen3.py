"""Random checkpoints in Hugging Face form, written without code of models/: the other side of comparisons."""

import json
import math
import zlib
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

BASE: dict[str, Any] = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1e6,
    "tie_word_embeddings": False,
    "max_position_embeddings": 512,
    "hidden_act": "silu",
    "attention_bias": False,
    "use_sliding_window": False,
    "sliding_window": None,
    "dtype": "float32",
}


def hf_config(**changes: Any) -> dict[str, Any]:
    """The content of a tiny config.json."""
    return BASE | changes


# the models whose logits tests/models/golden/make_qwen3.py records
GOLDEN_CASES = {
    "untied": hf_config(),
    "tied": hf_config(tie_word_embeddings=True, num_key_value_heads=1, rope_theta=1e4, vocab_size=101),
    "wide_heads": hf_config(head_dim=24, num_key_value_heads=4, rope_theta=5e6, num_hidden_layers=3),
}


_OTHER = {
    name: value for name, value in BASE.items() if name not in ("head_dim", "attention_bias", "use_sliding_window")
} | {"rope_theta": 1e4}
_QWEN2 = {**_OTHER, "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "use_sliding_window": False}
_LLAMA = {**_OTHER, "architectures": ["LlamaForCausalLM"], "model_type": "llama", "rms_norm_eps": 1e-5}
# A window so short that the frequencies of the tests' few positions fall into all three parts of the rule.
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
FAMILY_CASES = {
    "llama": _LLAMA,
    "llama, scaled rope": {**_LLAMA, "rope_scaling": LLAMA3, "tie_word_embeddings": True},
    "llama, head size given": {**_LLAMA, "head_dim": 12, "num_key_value_heads": 1},
    "qwen2": _QWEN2,
    "qwen2, tied": {**_QWEN2, "tie_word_embeddings": True, "num_key_value_heads": 4},
}


def hf_shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor, [out, in], as transformers names them."""
    width, mlp = config["hidden_size"], config["intermediate_size"]
    size = config.get("head_dim") or width // config["num_attention_heads"]
    queries, keys = config["num_attention_heads"] * size, config["num_key_value_heads"] * size
    layer = {
        "input_layernorm": (width,),
        "self_attn.q_proj": (queries, width),
        "self_attn.k_proj": (keys, width),
        "self_attn.v_proj": (keys, width),
        "self_attn.o_proj": (width, queries),
        **({"self_attn.q_norm": (size,), "self_attn.k_norm": (size,)} if config["model_type"] == "qwen3" else {}),
        "post_attention_layernorm": (width,),
        "mlp.gate_proj": (mlp, width),
        "mlp.up_proj": (mlp, width),
        "mlp.down_proj": (width, mlp),
    }
    shapes = {"model.embed_tokens.weight": (config["vocab_size"], width), "model.norm.weight": (width,)}
    biases = {"q_proj": queries, "k_proj": keys, "v_proj": keys} if config["model_type"] == "qwen2" else {}
    for i in range(config["num_hidden_layers"]):
        shapes |= {f"model.layers.{i}.self_attn.{name}.bias": (length,) for name, length in biases.items()}
        shapes |= {f"model.layers.{i}.{name}.weight": shape for name, shape in layer.items()}
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (config["vocab_size"], width)
    return shapes


def hf_weights(config: dict[str, Any], seed: int = 0) -> dict[str, np.ndarray]:
    """Weights large enough that attention is far from uniform; the same on every machine."""

    def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
        values = np.random.default_rng([seed, zlib.crc32(name.encode())]).standard_normal(shape)
        scaled = 1.0 + 0.2 * values if "norm" in name else values * (1.5 / math.sqrt(shape[-1]))
        return scaled.astype(np.float32)

    return {name: draw(name, shape) for name, shape in hf_shapes(config).items()}


def write_hf(directory: Path, config: dict[str, Any], weights: dict[str, np.ndarray], *, files: int = 1) -> Path:
    """A model directory, in one file or in several with an index."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config))
    if files == 1:
        save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
        return directory
    names = sorted(weights)
    weight_map = {name: f"model-{1 + i % files:05}-of-{files:05}.safetensors" for i, name in enumerate(names)}
    for file in sorted(set(weight_map.values())):
        held = {name: weights[name] for name in names if weight_map[name] == file}
        save_file(held, directory / file, metadata={"format": "pt"})
    (directory / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return directory


def bfloat16(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same weights, rounded."""
    return {name: value.astype(ml_dtypes.bfloat16) for name, value in weights.items()}


def padded_batch(vocab_size: int, length: int = 14) -> tuple[np.ndarray, np.ndarray]:
    """Tokens and validity of three rows: full, pads on the right, pads on the left."""
    tokens = np.random.default_rng(7).integers(0, vocab_size, (3, length)).astype(np.int32)
    valid = np.ones((3, length), bool)
    valid[1, length - 5 :] = False
    valid[2, :4] = False
    return tokens, valid

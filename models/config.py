"""The shape of a dense Qwen3, read from and written to `config.json`; what is not supported is refused by name."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import InputError

# our field -> key of config.json; rope_theta is read apart because it has two spellings
HF_KEYS: dict[str, str] = {
    "vocab_size": "vocab_size",
    "width": "hidden_size",
    "mlp_width": "intermediate_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "norm_eps": "rms_norm_eps",
    "tied": "tie_word_embeddings",
    "max_positions": "max_position_embeddings",
}


@dataclass(frozen=True)
class Qwen3Config:
    """The shape of a dense Qwen3. `head_dim` and `rope_theta` differ between releases and are never derived."""

    vocab_size: int
    width: int
    mlp_width: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    rope_theta: float
    norm_eps: float
    tied: bool
    max_positions: int

    @classmethod
    def from_hf(cls, source: str | Path | dict[str, Any]) -> "Qwen3Config":
        """Reads a Hugging Face `config.json` (a directory that holds it, or its content).

        Raises: InputError naming every unsupported, missing or impossible field at once.
        """
        raw, where = (source, "config") if isinstance(source, dict) else (read_json(source), f"{source}/config.json")
        problems = [*_unsupported(raw), *_malformed(raw)]
        if problems:
            raise InputError(f"{where}: " + "; ".join(problems))
        fields = {ours: raw[theirs] for ours, theirs in HF_KEYS.items()}
        return cls(**fields, rope_theta=float(_rope_theta(raw)))

    def to_hf(self, *, dtype: str = "float32") -> dict[str, Any]:
        """The content of `config.json`; rope_theta in both spellings, for readers of either age."""
        return {
            "architectures": ["Qwen3ForCausalLM"],
            "model_type": "qwen3",
            "hidden_act": "silu",
            "attention_bias": False,
            "attention_dropout": 0.0,
            "use_sliding_window": False,
            "sliding_window": None,
            "layer_types": ["full_attention"] * self.layers,
            "rope_theta": self.rope_theta,
            "rope_scaling": None,
            "rope_parameters": {"rope_theta": self.rope_theta, "rope_type": "default"},
            "initializer_range": 0.02,
            "use_cache": True,
            "dtype": dtype,
            "torch_dtype": dtype,
            **{theirs: getattr(self, ours) for ours, theirs in HF_KEYS.items()},
        }


def read_json(directory: str | Path, name: str = "config.json") -> dict[str, Any]:
    """One JSON file of a model directory. Raises: InputError when it is absent or not a JSON object."""
    path = Path(directory) / name
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected a Hugging Face directory") from None
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content


def _rope_theta(raw: dict[str, Any]) -> Any:
    rope = raw.get("rope_parameters")
    return rope["rope_theta"] if isinstance(rope, dict) and "rope_theta" in rope else raw.get("rope_theta")


def _unsupported(raw: dict[str, Any]) -> list[str]:
    """Every feature of the file that this model does not implement."""
    problems = []

    def refuse(field: str, allowed: str) -> None:
        problems.append(f"{field} = {raw.get(field)!r} is not supported, allowed: {allowed}")

    if raw.get("model_type") != "qwen3":
        refuse("model_type", "'qwen3' (dense)")
    if raw.get("architectures") not in (None, ["Qwen3ForCausalLM"]):
        refuse("architectures", "['Qwen3ForCausalLM']")
    if raw.get("num_experts"):
        refuse("num_experts", "absent (mixtures of experts are not implemented)")
    if raw.get("attention_bias"):
        refuse("attention_bias", "false")
    if raw.get("use_sliding_window"):
        refuse("use_sliding_window", "false")
    if set(raw.get("layer_types") or []) - {"full_attention"}:
        refuse("layer_types", "'full_attention' in every layer")
    if raw.get("hidden_act", "silu") != "silu":
        refuse("hidden_act", "'silu'")
    if raw.get("quantization_config"):
        refuse("quantization_config", "absent (float32, bfloat16 or float16 weights)")
    for field in ("rope_scaling", "rope_parameters"):
        rope = raw.get(field) or {}
        kind = rope.get("rope_type", rope.get("type", "default"))
        if kind != "default" or rope.get("partial_rotary_factor", 1.0) != 1.0:
            refuse(field, "rope_type 'default', full rotation")
    return problems


def _malformed(raw: dict[str, Any]) -> list[str]:
    """Fields that are missing, of the wrong type, or contradict each other."""
    problems = []
    for theirs in HF_KEYS.values():
        value = raw.get(theirs)
        if theirs == "tie_word_embeddings":
            wanted, good = "true or false", isinstance(value, bool)
        elif theirs == "rms_norm_eps":
            wanted, good = "a positive number", isinstance(value, float | int) and value > 0
        else:
            wanted, good = "a positive integer", type(value) is int and value > 0
        if not good:
            problems.append(f"{theirs} is missing" if theirs not in raw else f"{theirs} = {value!r}, expected {wanted}")
    theta = _rope_theta(raw)
    if not (isinstance(theta, float | int) and theta > 1):
        problems.append(f"rope_theta = {theta!r}, expected a number above 1 (top level or in rope_parameters)")
    if not problems and raw["num_attention_heads"] % raw["num_key_value_heads"]:
        problems.append(
            f"num_attention_heads = {raw['num_attention_heads']} is not a multiple of "
            f"num_key_value_heads = {raw['num_key_value_heads']}"
        )
    if not problems and raw["head_dim"] % 2:
        problems.append(f"head_dim = {raw['head_dim']} is odd, rotary embedding needs pairs")
    return problems

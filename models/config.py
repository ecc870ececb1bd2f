"""The shape of a dense Qwen3, read from and written to `config.json`; what is not supported is refused by name."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import InputError
from models.json_fields import ABSENT, BOOLEAN, Kind, either, faults, integer, list_of, number, one_of, read_json

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

# Far above any model that exists, and far below what would hang or exhaust the machine that only reads the numbers.
THETA = number(1, 1e12)
ROPE_FIELDS = ("rope_scaling", "rope_parameters")
ROPE_NAMES = {"rope_type", "type", "rope_theta", "partial_rotary_factor"}
PLAIN_ROPE = Kind(
    "null or an object with rope_type 'default', rope_theta and nothing else, full rotation", lambda rope: _plain(rope)
)
FIELDS: dict[str, Kind] = {
    "model_type": Kind("'qwen3' (dense)", lambda value: value == "qwen3"),
    "architectures": either(ABSENT, one_of(["Qwen3ForCausalLM"])),
    "auto_map": Kind("absent (code of a model directory is never run)", lambda value: not value),
    "num_experts": Kind("absent (mixtures of experts are not implemented)", lambda value: not value),
    "attention_bias": either(ABSENT, one_of(False)),
    "use_sliding_window": either(ABSENT, one_of(False)),
    "layer_types": either(ABSENT, list_of(one_of("full_attention"))),
    "hidden_act": either(ABSENT, one_of("silu")),
    "quantization_config": Kind("absent (float32, bfloat16 or float16 weights)", lambda value: not value),
    "partial_rotary_factor": Kind("absent or 1 (full rotation)", lambda part: part is None or part == 1),
    "rope_scaling": PLAIN_ROPE,
    "rope_parameters": PLAIN_ROPE,
    "vocab_size": integer(1, 1 << 24),
    "hidden_size": integer(1, 1 << 20),
    "intermediate_size": integer(1, 1 << 22),
    "num_hidden_layers": integer(1, 4096),
    "num_attention_heads": integer(1, 1 << 14),
    "num_key_value_heads": integer(1, 1 << 14),
    "head_dim": integer(1, 1 << 14),
    "rms_norm_eps": number(0, 1),
    "tie_word_embeddings": BOOLEAN,
    "max_position_embeddings": integer(1, 1 << 30),
    "dtype": either(ABSENT, one_of("float32", "bfloat16", "float16")),
    "torch_dtype": either(ABSENT, one_of("float32", "bfloat16", "float16")),
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
        problems = [*faults(raw, FIELDS), *_rope(raw)]
        problems = problems or [*_contradictions(raw)]
        if problems:
            raise InputError(f"{where}: " + "; ".join(problems))
        fields = {ours: raw[theirs] for ours, theirs in HF_KEYS.items()}
        return cls(**fields, rope_theta=_theta(raw))

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


def _plain(rope: Any) -> bool:
    if not isinstance(rope, dict):
        return rope is None
    kind, rotated = rope.get("rope_type", rope.get("type")), rope.get("partial_rotary_factor")
    known = all(name in ROPE_NAMES or value is None for name, value in rope.items())
    return known and kind in (None, "default") and (rotated is None or rotated == 1)


def _rope(raw: dict[str, Any]) -> Iterator[str]:
    """What is wrong with the rotary embedding, which has two spellings: fields of their own, or `rope_parameters`."""
    told = {
        f"{field}.rope_theta": raw[field].get("rope_theta") for field in ROPE_FIELDS if isinstance(raw.get(field), dict)
    }
    given = {name: theta for name, theta in (told | {"rope_theta": raw.get("rope_theta")}).items() if theta is not None}
    wrong = [*faults(given, dict.fromkeys(given, THETA))]
    yield from wrong
    if not given:
        yield f"rope_theta = None, expected {THETA.words} (top level or in rope_parameters)"
    elif not wrong and len(set(given.values())) > 1:
        yield "rope_theta is given twice: " + ", ".join(f"{name} = {theta}" for name, theta in given.items())


def _theta(raw: dict[str, Any]) -> float:
    ropes = [raw[field] for field in ROPE_FIELDS if isinstance(raw.get(field), dict)]
    return float(next(theta for rope in (*ropes, raw) if (theta := rope.get("rope_theta")) is not None))


def _contradictions(raw: dict[str, Any]) -> Iterator[str]:
    """Fields that are right one by one but not together."""
    heads, kv_heads, layers = (raw[f] for f in ("num_attention_heads", "num_key_value_heads", "num_hidden_layers"))
    if heads % kv_heads:
        yield f"num_attention_heads = {heads} is not a multiple of num_key_value_heads = {kv_heads}"
    if raw["head_dim"] % 2:
        yield f"head_dim = {raw['head_dim']} is odd, rotary embedding needs pairs"
    if raw.get("layer_types") and len(raw["layer_types"]) != layers:
        yield f"layer_types has {len(raw['layer_types'])} entries for num_hidden_layers = {layers}"

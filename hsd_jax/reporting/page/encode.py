"""Packs the rollout log for the page: one compressed block per group, opened by the browser only when it is chosen.

A block is raw DEFLATE of: length of the header (uint32, little endian), header (JSON: texts and lengths), then the
numbers of all tokens of the group, each number split into byte planes because planes compress better. Numbers are
float16 (three digits); token strings stand once in one table and are referred to by 24-bit index. page.js reads it.
"""

import base64
import json
import struct
import zlib
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hsd_jax.reporting.logs import Alternatives, Floats, Group, Rollout

Bytes = npt.NDArray[np.uint8]
# "No such alternative" in a plane of references; a table never has so many entries.
NO_TOKEN = 0xFFFFFF
# Bits of float16's mantissa that are dropped: quantities read at a glance need no more than 0.4 % (3 bits), and the
# page would otherwise consist mostly of noise.
FLOATS = {"credit": 0, "kl": 2, "student_logprob": 0, "teacher_logprob": 0, "student_entropy": 3, "teacher_entropy": 3}
CHANCE_BITS = 3


@dataclass
class TokenTable:
    """Every distinct token string once, in the order of first use; grows while groups are encoded."""

    index: dict[str, int] = field(default_factory=dict)

    def refer(self, tokens: list[str]) -> npt.NDArray[np.uint32]:
        """References to `tokens`; new strings are added."""
        index = self.index
        return np.array([index.setdefault(token, len(index)) for token in tokens], np.uint32)


def encode_group(group: Group, table: TokenTable) -> bytes:
    """The compressed block of a group; its token strings go into `table`."""
    header = json.dumps(_header(group)).encode("ascii")
    planes = _planes(group.rollouts, table)
    return deflate(struct.pack("<I", len(header)) + header + planes)


def encode_table(table: TokenTable) -> bytes:
    """The compressed token table: a JSON list of strings."""
    return deflate(json.dumps(list(table.index)).encode("ascii"))


def deflate(data: bytes) -> bytes:
    """Raw DEFLATE, which every current browser opens itself (DecompressionStream)."""
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def to_text(block: bytes) -> str:
    """A block as the text of a script element: base64 has no character that HTML could read as markup."""
    return base64.b64encode(block).decode("ascii")


def script_json(value: Any) -> str:
    """JSON that cannot end the script element it stands in: no <, >, & and nothing outside ASCII; NaN becomes null."""
    text = json.dumps(finite(value), separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def finite(value: Any) -> Any:
    """`value` with every number that JSON cannot say (nan, infinity) replaced by None."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


def without_texts(group: Group) -> Group:
    """The group with its numbers only: what the diagnostics need of a log that may be larger than memory."""
    bare = [replace(item, text="", tokens=[], top_student=[], top_teacher=[]) for item in group.rollouts]
    return replace(group, question="", answer="", contexts=[], rollouts=bare)


def _header(group: Group) -> dict[str, Any]:
    return {
        "question": group.question,
        "answer": group.answer,
        "contexts": group.contexts,
        "lengths": [len(rollout.tokens) for rollout in group.rollouts],
        "alternatives": _alternatives_count(group.rollouts),
        "extracted": [rollout.extracted for rollout in group.rollouts],
        "texts": [_text_beyond_tokens(rollout) for rollout in group.rollouts],
    }


def _text_beyond_tokens(rollout: Rollout) -> str | None:
    """The text where the tokens do not already say it (they do up to the stop token, unless a character was cut)."""
    return None if rollout.tokens and "".join(rollout.tokens).startswith(rollout.text) else rollout.text


def _alternatives_count(rollouts: list[Rollout]) -> int:
    return max((len(row) for item in rollouts for row in (*item.top_student, *item.top_teacher)), default=0)


def _planes(rollouts: list[Rollout], table: TokenTable) -> bytes:
    parts = [_split(table.refer([token for rollout in rollouts for token in rollout.tokens]), 3)]
    for name, dropped in FLOATS.items():
        parts.append(_split(half([getattr(rollout, name) for rollout in rollouts], dropped), 2))
    count = _alternatives_count(rollouts)
    for name in ("top_student", "top_teacher"):
        rows = [row for rollout in rollouts for row in getattr(rollout, name)]
        for rank in range(count):
            parts.extend(_rank_planes(rows, rank, table))
    return b"".join(part.tobytes() for part in parts)


def _rank_planes(rows: Alternatives, rank: int, table: TokenTable) -> list[Bytes]:
    present = np.array([len(row) > rank for row in rows], bool)
    references = np.full(len(rows), NO_TOKEN, np.uint32)
    references[present] = table.refer([row[rank][0] for row in rows if len(row) > rank])
    chances = np.full(len(rows), np.nan, np.float32)
    chances[present] = [row[rank][1] for row in rows if len(row) > rank]
    return [_split(references, 3), _split(half([chances], CHANCE_BITS), 2)]


def half(arrays: list[Floats], dropped_bits: int) -> npt.NDArray[np.uint16]:
    """The bits of the numbers as float16, rounded to leave the lowest `dropped_bits` of the mantissa zero."""
    values = np.concatenate([np.zeros(0, np.float32), *arrays])
    bits = np.clip(values, -60000.0, 60000.0).astype(np.float16).view(np.uint16)
    if dropped_bits == 0:
        return bits
    rounded = (bits.astype(np.uint32) + (1 << (dropped_bits - 1))) & ~np.uint32((1 << dropped_bits) - 1)
    return np.where(np.isnan(values), bits, rounded).astype(np.uint16)


def _split(values: npt.NDArray[Any], count: int) -> Bytes:
    """[numbers] -> [count, numbers]: all lowest bytes first, then the next."""
    return np.stack([(values >> (8 * byte)) & 0xFF for byte in range(count)]).astype(np.uint8)

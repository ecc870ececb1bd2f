"""The one table between our parameters and the tensors of a Hugging Face directory, and both directions across it."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
_LAYER = "model.layers.{}."
Index = tuple[slice, ...]


@dataclass(frozen=True)
class Entry:
    """One row of the table. `layout` is the tensor's shape in the file in our axis letters, merged axes as one word."""

    ours: str
    theirs: str
    layout: tuple[str, ...]

    @property
    def letters(self) -> str:
        """Our axes of one tensor of the file (a stacked parameter without its L)."""
        return self.ours.rsplit("_", 1)[1].removeprefix("L")

    @property
    def stacked(self) -> bool:
        """The file holds one tensor per layer."""
        return "{}" in self.theirs


TABLE = (
    Entry("embed_VD", EMBEDDING, ("V", "D")),
    Entry("attn_norm_LD", _LAYER + "input_layernorm.weight", ("D",)),
    Entry("q_LDNH", _LAYER + "self_attn.q_proj.weight", ("NH", "D")),
    Entry("k_LDKH", _LAYER + "self_attn.k_proj.weight", ("KH", "D")),
    Entry("v_LDKH", _LAYER + "self_attn.v_proj.weight", ("KH", "D")),
    Entry("o_LNHD", _LAYER + "self_attn.o_proj.weight", ("D", "NH")),
    Entry("q_norm_LH", _LAYER + "self_attn.q_norm.weight", ("H",)),
    Entry("k_norm_LH", _LAYER + "self_attn.k_norm.weight", ("H",)),
    Entry("q_bias_LNH", _LAYER + "self_attn.q_proj.bias", ("NH",)),
    Entry("k_bias_LKH", _LAYER + "self_attn.k_proj.bias", ("KH",)),
    Entry("v_bias_LKH", _LAYER + "self_attn.v_proj.bias", ("KH",)),
    Entry("mlp_norm_LD", _LAYER + "post_attention_layernorm.weight", ("D",)),
    Entry("gate_LDF", _LAYER + "mlp.gate_proj.weight", ("F", "D")),
    Entry("up_LDF", _LAYER + "mlp.up_proj.weight", ("F", "D")),
    Entry("down_LFD", _LAYER + "mlp.down_proj.weight", ("D", "F")),
    Entry("final_norm_D", "model.norm.weight", ("D",)),
    Entry("head_DV", HEAD, ("V", "D")),
)


def entries(params: Mapping[str, Any]) -> Iterator[tuple[Entry, int]]:
    """Every tensor of a model with these parameters (or shapes) in the file's order, with its layer (-1: none)."""
    ends = [entry for entry in TABLE if not entry.stacked and entry.ours in params]
    inside = [entry for entry in TABLE if entry.stacked and entry.ours in params["layers"]]
    layers = range(shape_of(params["layers"][inside[0].ours])[0])
    yield from ((entry, -1) for entry in ends if entry.theirs == EMBEDDING)
    yield from ((entry, layer) for layer in layers for entry in inside)
    yield from ((entry, -1) for entry in ends if entry.theirs != EMBEDDING)


def shape_of(leaf: Any) -> tuple[int, ...]:
    """The shape of a parameter, or the shape itself."""
    return leaf if isinstance(leaf, tuple) else tuple(leaf.shape)


def sizes(entry: Entry, shape: tuple[int, ...]) -> dict[str, int]:
    """The size of each axis letter of one tensor, from our parameter's shape."""
    return dict(zip(entry.letters, shape[1:] if entry.stacked else shape, strict=True))


def file_shape(entry: Entry, size: dict[str, int]) -> tuple[int, ...]:
    """The tensor's shape in the file."""
    return tuple(math.prod(size[letter] for letter in word) for word in entry.layout)


def to_file(entry: Entry, array: np.ndarray) -> np.ndarray:
    """One tensor in the file's layout."""
    order = "".join(entry.layout)
    size = dict(zip(entry.letters, array.shape, strict=True))
    return array.transpose([entry.letters.index(letter) for letter in order]).reshape(file_shape(entry, size))


def from_file(entry: Entry, size: dict[str, int], index: Index, read: Callable[[Index], np.ndarray]) -> np.ndarray:
    """A slice (in our axes) of one tensor; `read` gets the smallest slice of the file that holds it."""
    ours = dict(zip(entry.letters, index, strict=True))
    file_index, lengths, inner = [], [], []
    for word in entry.layout:
        first, rest = word[0], word[1:]
        stride = math.prod(size[letter] for letter in rest)
        start, stop, _ = ours[first].indices(size[first])
        file_index.append(slice(start * stride, stop * stride))
        lengths += [stop - start, *(size[letter] for letter in rest)]
        inner += [slice(None), *(ours[letter] for letter in rest)]
    block = read(tuple(file_index)).reshape(lengths)[tuple(inner)]
    order = "".join(entry.layout)
    return block.transpose([order.index(letter) for letter in entry.letters])

"""The hidden states that predict each response token, for student, teacher and reference alike.

A teacher is a context, not a model: they differ in the context that is read and in whose weights read it.
Contexts and responses run through every layer in one row; a context is read once however many responses follow it,
and none of its hidden states but the last is handed out, so nothing else of it can meet the vocabulary head.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax

from hsd_jax.scoring.packed_attention import PackedAttention, Visible, block_attention
from hsd_jax.scoring.packing import Packed, Sizes, flatten, pack, split_rows, unflatten
from hsd_jax.scoring.padded import score_groups
from hsd_jax.types import Array, Contexts
from models.qwen3 import Params, Qwen3Config, embed, final_norm, layer
from models.scan import PLAIN, Compute, scan_layers

# (weights, contexts, response_PGT, length_PG) -> hidden_ND, the states that predict the flat response tokens
Score = Callable[[Params, Contexts, Array, Array], Array]


@dataclass(frozen=True)
class Scorer:
    """How a micro-batch of whole groups is scored, by functions that agree on what flat token n is.

    `view(n)` is that of the n-th distinct privileged view.

    `flatten(values_PGT, length_PG) -> values_N` (pads 0), `unflatten(values_N.., length_PG) -> values_PGT..`. The
    reference reads what the student reads. `padded_scorer` keeps windows, `packed_scorer` leaves the padding out.
    """

    student: Score
    view: Callable[[int], Score]
    flatten: Callable[[Array, Array], Array]
    unflatten: Callable[[Array, Array], Array]


def padded_scorer(config: Qwen3Config, *, steps: int, how: Compute = PLAIN) -> Scorer:
    """Windows of `steps` response tokens as they are: simple, and cheap where windows are short."""

    def score(params: Params, contexts: Contexts, response_PGT: Array, length_PG: Array) -> Array:
        hidden_PGTD = score_groups(config, params, contexts, response_PGT, length_PG, how)
        return hidden_PGTD.reshape(-1, hidden_PGTD.shape[-1])

    return Scorer(
        student=score,
        view=lambda place: score,
        flatten=lambda values_PGT, length_PG: values_PGT.reshape(-1),
        unflatten=lambda values_N, length_PG: values_N.reshape(*length_PG.shape, steps, *values_N.shape[1:]),
    )


def packed_scorer(
    config: Qwen3Config,
    sizes: Sequence[Sizes],
    *,
    rows: int,
    steps: int,
    attention: PackedAttention | None = None,
    how: Compute = PLAIN,
) -> Scorer:
    """Problems packed into `rows` rows of the planned sizes: nearly every position is a token.

    `sizes` are those of the student's rows, then of each view's. The problems of a micro-batch must come in the order
    of the plan: the first P / rows of them make the first row. Without `attention`, that of one device.
    """

    def score_in(size: Sizes) -> Score:
        def score(params: Params, contexts: Contexts, response_PGT: Array, length_PG: Array) -> Array:
            contexts, response_BPGT, length_BPG = split_rows((contexts, response_PGT, length_PG), rows)
            packed = pack(contexts, response_BPGT, length_BPG, size)
            hidden_BND = score_rows(config, params, packed, attention or block_attention(size.block), how)
            return hidden_BND.reshape(-1, hidden_BND.shape[-1])

        return score

    flat = {"rows": rows, "tokens": sizes[0].response_tokens}
    return Scorer(
        student=score_in(sizes[0]),
        view=lambda place: score_in(sizes[1 + place]),
        flatten=lambda values_PGT, length_PG: flatten(values_PGT, length_PG, **flat),
        unflatten=lambda values_N, length_PG: unflatten(values_N, length_PG, steps=steps, **flat),
    )


def score_rows(
    config: Qwen3Config, params: Params, packed: Packed, attention: PackedAttention, how: Compute = PLAIN
) -> Array:
    """hidden_BND: for each packed response token the state, after the last norm, that predicts it.

    For the first token of a response that is the last token of its context, else the token before it.
    """

    def body(carry: tuple[Array, Visible], weights: Params) -> tuple[tuple[Array, Visible], Any]:
        x_BSD, visible = carry

        def attend(q: Array, k: Array, v: Array) -> tuple[Array, Any]:
            return attention(q, k, v, visible), ()

        x_BSD, aux = layer(config, weights, x_BSD, packed.positions_BS, attend)
        return (x_BSD, visible), aux

    # carried, not closed over: differentiating the scan would hoist the masks of all pairs of blocks out of it
    start = embed(params, packed.tokens_BS, how), packed.visible
    (x_BSD, _), _ = scan_layers(body, start, params["layers"], how)
    x_BND = how.placement.batch(jax.vmap(lambda x, i: x[i])(x_BSD, packed.before_BN))
    return final_norm(config, params, x_BND)

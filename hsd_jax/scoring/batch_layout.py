"""Batch layout of the update: rows packed by length, or windows padded to the caps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jax.sharding import Mesh

from hsd_jax.scoring.bin_packing import UNDIVIDED, Lengths, RowPlan, Split, pack_problems
from hsd_jax.scoring.packed_attention import block_attention, on_mesh
from hsd_jax.scoring.packing import Sizes
from hsd_jax.scoring.scorer import Scorer, packed_scorer, padded_scorer
from models.qwen3 import Qwen3Config
from models.scan import PLAIN, Compute

# What a compiled update is specialized on: the sizes of the student's and of every view's rows; () for windows.
RowSizes = tuple[Sizes, ...]


@dataclass(frozen=True)
class BatchLayout:
    """`plan(length_PG, streams, known)` orders problems and sizes rows; `scorer(sizes)` reads rows of these sizes."""

    plan: Callable[[np.ndarray, Sequence[Lengths], Sequence[RowSizes]], RowPlan]
    scorer: Callable[[RowSizes], Scorer]


def packed(
    model: Qwen3Config, mesh: Mesh, *, steps: int, block: int, split: Split = UNDIVIDED, how: Compute = PLAIN
) -> BatchLayout:
    """One row of whole problems on every device that holds rows; attention in blocks of `block` tokens.

    Rows are as wide as the step's texts need, so a few programs are compiled in the course of a run, and memory
    follows the lengths that are really written.
    """
    rows = mesh.shape["data"] * mesh.shape["fsdp"]

    def plan(length_PG: np.ndarray, streams: Sequence[Lengths], known: Sequence[RowSizes]) -> RowPlan:
        every = rows * split.minibatches * split.micro_batches
        return pack_problems(length_PG, streams, every, block=block, split=split, known=known)

    def scorer(sizes: RowSizes) -> Scorer:
        attention = on_mesh(block_attention(block), mesh)
        return packed_scorer(model, sizes, rows=rows, steps=steps, attention=attention, how=how)

    return BatchLayout(plan, scorer)


def padded(model: Qwen3Config, *, context: int, steps: int, how: Compute = PLAIN) -> BatchLayout:
    """Every text in a window of its cap: one program for the whole run, simple, and wasteful where caps are high."""

    def plan(length_PG: np.ndarray, streams: Sequence[Lengths], known: Sequence[RowSizes]) -> RowPlan:
        real = sum(s.length_PM.sum() + length_PG.sum() for s in streams)
        held = sum(s.length_PM.size * context + length_PG.size * steps for s in streams)
        return RowPlan(np.arange(len(length_PG), dtype=np.int32), (), float(real / held))

    scorer = padded_scorer(model, steps=steps, how=how)
    return BatchLayout(plan, lambda sizes: scorer)

"""Batches of problems as a pure function of (seed, step): shuffled by epoch, mixed exactly, the same on any mesh.

    steps = step_batches({"math": math, "code": code}, weights={"math": 4, "code": 1}, ...)
    steps[7]                                   # the problems of step 7, a list

Nothing but the step number is needed to go on, on any number of processes; `identity` says what the order depends
on besides it, is stored in the checkpoint, and `check_resume` refuses to go on with another order.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import grain
import numpy as np

from hsd_jax.data.problems import Problem
from hsd_jax.errors import InputError


class ProblemSource(Protocol):
    """Random access to problems: a list, a tuple, or a split of a `Corpus`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


@dataclass(frozen=True)
class Corpus:
    """An opened dataset. `splits[name][i]` is a `Problem`; `fingerprint` changes with any byte of the source.

    `read` has a row per file that was read, {"file", "split", "rows"}; `left_out` maps other files to the reason.
    """

    source: str
    fingerprint: str
    directory: Path
    splits: Mapping[str, ProblemSource]
    removed: Mapping[str, Any]
    read: Sequence[Mapping[str, Any]] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Questions:
    """The training questions of every step, what their order depends on, and the held-out ones."""

    steps: grain.MapDataset[list[Problem]]
    identity: Mapping[str, Any]
    held_out: Sequence[Problem]


def select(problems: ProblemSource, indices: Sequence[int] | np.ndarray) -> grain.MapDataset[Problem]:
    """The problems at `indices`, in that order (those a filter kept, for instance)."""
    chosen = np.asarray(indices, np.int64)
    return grain.MapDataset.range(len(chosen)).map(lambda i: problems[int(chosen[i])])


def map_problems(problems: ProblemSource, change: Callable[[Problem], Problem]) -> grain.MapDataset[Problem]:
    """The problems with `change` applied when they are read."""
    return grain.MapDataset.range(len(problems)).map(lambda i: change(problems[int(i)]))


def join(parts: Sequence[ProblemSource]) -> grain.MapDataset[Problem]:
    """All problems of the parts, one part after the other."""
    return grain.MapDataset.concatenate([select(part, range(len(part))) for part in parts])


def step_batches(
    problems: Mapping[str, ProblemSource],
    *,
    problems_per_step: int,
    seed: int,
    weights: Mapping[str, int],
    process_index: int = 0,
    process_count: int = 1,
) -> grain.MapDataset[list[Problem]]:
    """The problems of every step; element i is the share of this process of step i, a list.

    Groups (in training: "math", "code") are read in the proportion of their integer `weights` by a fixed interleave:
    with 4:1, any 5 consecutive questions are 4 of the first and 1 of the second group. Every group is shuffled anew
    in every epoch. A process takes a contiguous block of rows of the global batch, so the global batch is the same
    for any number of processes that divides it.
    Raises: InputError if a group is empty or has no weight, or if the processes do not divide the step.
    """
    _check(problems, problems_per_step, weights, process_index, process_count)
    groups = [_shuffled(problems[name], seed + i) for i, name in enumerate(weights)]
    order = grain.MapDataset.mix(groups, weights=[weights[name] for name in weights])
    share = problems_per_step // process_count
    first = process_index * share
    return order.batch(problems_per_step, batch_fn=repeats_counted).map(lambda batch: batch[first : first + share])


def repeats_counted(step: Sequence[Problem]) -> list[Problem]:
    """The problems of a whole step with their `repeat`: at the end of an epoch, or of few, one may be there twice."""
    seen: Counter[str] = Counter()
    counted = []
    for problem in step:
        counted.append(replace(problem, repeat=seen[problem.id]) if problem.id in seen else problem)
        seen[problem.id] += 1
    return counted


def _shuffled(problems: ProblemSource, seed: int) -> grain.MapDataset[Problem]:
    indices = grain.MapDataset.range(len(problems)).seed(seed).shuffle().repeat()
    return indices.map(lambda i: problems[int(i)])


def _check(
    problems: Mapping[str, ProblemSource],
    problems_per_step: int,
    weights: Mapping[str, int],
    process_index: int,
    process_count: int,
) -> None:
    if not weights or set(weights) != set(problems):
        raise InputError(f"the mixture names {sorted(weights)} but there are problems for {sorted(problems)}")
    for name, weight in weights.items():
        if int(weight) != weight or weight < 1:
            raise InputError(f"the weight of {name!r} must be a positive integer; got {weight!r}")
        if not len(problems[name]):
            raise InputError(f"there is no problem of kind {name!r} to train on")
    if problems_per_step < 1 or problems_per_step % process_count:
        raise InputError(f"{problems_per_step} problems per step cannot be shared by {process_count} processes")
    if not 0 <= process_index < process_count:
        raise InputError(f"process index must be in [0, {process_count}); got {process_index}")


def identity(
    problems: Mapping[str, ProblemSource],
    *,
    fingerprint: str,
    problems_per_step: int,
    seed: int,
    weights: Mapping[str, int],
) -> dict[str, Any]:
    """What the order of problems depends on besides the step: JSON for the checkpoint.

    `fingerprint` is that of the corpora. The grain version is in it because its shuffle changed between releases.
    """
    sizes = {name: len(problems[name]) for name in weights}
    return {
        "corpus": hashlib.blake2b(fingerprint.encode(), digest_size=8).hexdigest(),
        "sizes": sizes,
        "problems_per_step": problems_per_step,
        "seed": seed,
        "weights": dict(weights),
        "grain": grain.__version__,
    }


def check_resume(saved: Mapping[str, Any], current: Mapping[str, Any]) -> None:
    """Raises: InputError naming the first part of the saved `identity` that is different now."""
    for name in {**saved, **current}:
        if saved.get(name) != current.get(name):
            raise InputError(
                f"the order of problems would change on resuming: {name} was {saved.get(name)!r} and is now "
                f"{current.get(name)!r}; restore it or start another workdir"
            )

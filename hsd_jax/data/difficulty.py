"""How hard each question is for a model: the share of right answers among its samples, kept with the data.

`difficulty.json` is in the dataset's directory: {"checkpoint", "samples", "settings", "correct": {id: count}}. The
dataset itself never changes; the rates are joined when problems are read.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hsd_jax.data.batches import ProblemSource, map_problems
from hsd_jax.errors import InputError
from hsd_jax.runtime import files

FILE = "difficulty.json"
BINS: tuple[tuple[str, Callable[[float], bool]], ...] = (
    ("never", lambda rate: rate == 0),
    ("hard (up to 1/4)", lambda rate: 0 < rate <= 0.25),
    ("medium (up to 3/4)", lambda rate: 0.25 < rate <= 0.75),
    ("easy (below 1)", lambda rate: 0.75 < rate < 1),
    ("always", lambda rate: rate == 1),
)


def write(directory: Path, correct: Mapping[str, int], *, samples: int, settings: Mapping[str, Any]) -> Path:
    """Writes the counts of right answers; earlier ones of the same settings are kept, of others replaced.

    Raises: InputError if a count is not in 0..samples.
    """
    for problem_id, count in correct.items():
        if not 0 <= count <= samples:
            raise InputError(f"difficulty of {problem_id!r}: {count} right answers of {samples}")
    file = directory / FILE
    rates(directory)  # refuses a broken file
    before = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    same = before.get("samples") == samples and before.get("settings") == dict(settings)
    merged = {**(before["correct"] if same else {}), **correct}
    document = {"samples": samples, "settings": dict(settings), "correct": merged}
    files.replace(file, json.dumps(document, indent=0))
    return file


def rates(directory: Path) -> dict[str, float]:
    """Initial pass rate by question id; empty where none was measured. Raises: InputError for a broken file."""
    file = directory / FILE
    if not file.is_file():
        return {}
    try:
        read = json.loads(file.read_text(encoding="utf-8"))
        return {problem_id: count / read["samples"] for problem_id, count in read["correct"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise InputError(f"{file}: not a difficulty file ({error}); delete it or measure again") from error


def joined(problems: ProblemSource, found: Mapping[str, float]) -> ProblemSource:
    """The problems with their measured rates; a rate that came with the problem stays where none was measured."""
    if not found:
        return problems
    return map_problems(problems, lambda one: replace(one, difficulty=found.get(one.id, one.difficulty)))


def bin_of(rate: float | None) -> str:
    """The difficulty bin of an initial pass rate; "unknown" where it was never measured."""
    if rate is None:
        return "unknown"
    return next(name for name, holds in BINS if holds(rate))

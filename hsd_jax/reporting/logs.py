"""Reads a workdir as a run leaves it: finished, still being written, cut off in the middle of a line, or empty.

Nothing that a log holds can stop the report: what cannot be read is left out, counted and named in `Run.damage`.
Texts are the model's own output and are passed on as they are, only made valid Unicode.
"""

import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hsd_jax.errors import InputError

Floats = npt.NDArray[np.float32]
Alternatives = list[list[tuple[str, float]]]
Record = dict[str, Any]


@dataclass(frozen=True)
class Rollout:
    """One response with what was recorded of each of its tokens; arrays [tokens], nan: not recorded.

    `peer` is the index of the demonstrating rollout of the group, `context` that of the text the teacher read,
    `divergence` the first token that differs from the peer; -1: none. `credit` = log teacher - log student, nats.
    """

    text: str
    tokens: list[str]
    reward: float
    reason: str
    extracted: str | None
    finished: bool
    peer: int
    context: int
    divergence: int
    weight: float
    credit: Floats
    kl: Floats
    student_logprob: Floats
    teacher_logprob: Floats
    student_entropy: Floats
    teacher_entropy: Floats
    top_student: Alternatives
    top_teacher: Alternatives


@dataclass(frozen=True)
class Group:
    """One problem at one step with all its rollouts; `difficulty` is the initial pass rate (None: not measured)."""

    step: int
    question_id: str
    source: str
    question: str
    answer: str
    difficulty: float | None
    contexts: list[str]
    rollouts: list[Rollout]


@dataclass(frozen=True)
class Run:
    """A workdir without its rollouts: resolved configuration, one record per step, and what was unreadable."""

    name: str
    path: Path
    config: Record
    metrics: list[Record]
    damage: Counter[str] = field(default_factory=Counter)


def read_run(workdir: Path) -> Run:
    """Configuration and metrics of a workdir; the last record of a repeated step wins (a resumed run).

    Raises: InputError when the directory does not exist.
    """
    if not workdir.is_dir():
        raise InputError(
            f"--workdir and --compare name directories of runs; got {str(workdir)!r}, which does not exist. "
            "A run makes it: python -m hsd_jax.train --config configs/tiny.py --workdir DIR"
        )
    damage: Counter[str] = Counter()
    by_step: dict[int, Record] = {}
    for record in read_jsonl(workdir / "metrics.jsonl", damage):
        step = record.get("step")
        if isinstance(step, int) and not isinstance(step, bool):
            by_step[step] = by_step.get(step, {}) | record
        else:
            damage["metrics.jsonl: records without a step"] += 1
    config = _read_config(workdir / "config.json", damage)
    metrics = [by_step[step] for step in sorted(by_step)]
    return Run(workdir.resolve().name, workdir, config, metrics, damage)


def read_groups(workdir: Path, damage: Counter[str]) -> Iterator[Group]:
    """Every group of the rollout log in the order of steps, one at a time: a log may be larger than memory."""
    for path in sorted((workdir / "rollouts").glob("step-*.jsonl"), key=lambda path: (_step_of(path), path.name)):
        for record in read_jsonl(path, damage):
            group = parse_group(record, damage)
            if group is not None:
                yield group


def read_jsonl(path: Path, damage: Counter[str]) -> Iterator[Record]:
    """The objects of a JSON-lines file; bytes that are not UTF-8 become U+FFFD, unreadable lines are counted."""
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace", newline="\n") as lines:
        for line in lines:
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                whole = line.endswith("\n")
                damage[f"{path.name}: " + ("unreadable lines" if whole else "half-written last line")] += 1
                continue
            if isinstance(record, dict):
                yield record
            else:
                damage[f"{path.name}: lines that are not objects"] += 1


def parse_group(record: Record, damage: Counter[str]) -> Group | None:
    """The group of one line of the rollout log, None (and counted) when it has no rollouts to show."""
    rollouts, contexts = record.get("rollouts"), record.get("contexts")
    if not isinstance(rollouts, list):
        damage["rollout log: problems without a list of rollouts"] += 1
        return None
    kept = [rollout if isinstance(rollout, dict) else {} for rollout in rollouts]
    damage["rollout log: rollouts that are not objects"] += sum(not isinstance(item, dict) for item in rollouts)
    difficulty = _number(record.get("difficulty"), np.nan)
    return Group(
        step=int(_number(record.get("step"), -1)),
        question_id=clean(record.get("question_id")),
        source=clean(record.get("source")),
        question=clean(record.get("question")),
        answer=clean(record.get("answer")),
        difficulty=difficulty if np.isfinite(difficulty) else None,
        contexts=[clean(text) for text in contexts] if isinstance(contexts, list) else [],
        rollouts=[_parse_rollout(rollout, len(kept), damage) for rollout in kept],
    )


def clean(value: object) -> str:
    """`value` as valid Unicode: None is empty, surrogate halves (from cut JSON escapes) become U+FFFD."""
    text = "" if value is None else str(value)
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _parse_rollout(record: Record, group_size: int, damage: Counter[str]) -> Rollout:
    text, tokens = clean(record.get("text")), record.get("tokens")
    tokens = [clean(token) for token in tokens] if isinstance(tokens, list) else []
    count = len(tokens)
    peer, divergence = int(_number(record.get("peer"), -1)), int(_number(record.get("divergence"), -1))
    if not -1 <= peer < group_size:
        damage["rollout log: peers outside the group"] += 1
        peer = -1
    extracted = record.get("extracted")

    def floats(name: str) -> Floats:
        return _floats(record.get(name), count, damage)

    return Rollout(
        text=text,
        tokens=tokens,
        reward=_number(record.get("reward"), 0.0),
        reason=clean(record.get("reason")),
        extracted=None if extracted is None else clean(extracted),
        finished=bool(record.get("finished", True)),
        peer=peer,
        context=int(_number(record.get("context"), -1)),
        divergence=divergence if 0 <= divergence <= count else -1,
        weight=_number(record.get("weight"), 0.0),
        credit=floats("credit"),
        kl=floats("kl"),
        student_logprob=floats("student_logprob"),
        teacher_logprob=floats("teacher_logprob"),
        student_entropy=floats("student_entropy"),
        teacher_entropy=floats("teacher_entropy"),
        top_student=_alternatives(record.get("top_student"), count),
        top_teacher=_alternatives(record.get("top_teacher"), count),
    )


def _floats(values: object, count: int, damage: Counter[str]) -> Floats:
    values = values if isinstance(values, list) else []
    if len(values) != count and values:
        damage["rollout log: per-token numbers that do not match the number of tokens"] += 1
    try:
        found = np.array(values[:count], np.float32)
    except (ValueError, TypeError, OverflowError):
        found = np.array([_number(value, np.nan) for value in values[:count]], np.float32)
    return np.concatenate([found, np.full(count - len(found), np.nan, np.float32)])


def _alternatives(values: object, count: int) -> Alternatives:
    """[tokens][alternatives] (token, probability), most likely first; a token without any has an empty list."""
    rows = values[:count] if isinstance(values, list) else []
    parsed = [
        [(clean(item[0]), _number(item[1], np.nan)) for item in row if isinstance(item, list) and len(item) == 2]
        if isinstance(row, list)
        else []
        for row in rows
    ]
    return parsed + [[] for _ in range(count - len(parsed))]


def _number(value: object, otherwise: float) -> float:
    try:
        return float(value) if isinstance(value, int | float) and math.isfinite(value) else otherwise
    except OverflowError:
        return otherwise


def _read_config(path: Path, damage: Counter[str]) -> Record:
    if not path.exists():
        return {}
    try:
        config = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except (ValueError, RecursionError):
        config = None
    if isinstance(config, dict):
        return config
    damage["config.json: unreadable"] += 1
    return {}


def _step_of(path: Path) -> int:
    digits = path.stem.removeprefix("step-")
    return int(digits) if digits.isdecimal() else -1

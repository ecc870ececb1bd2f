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
BAND = 1.96  # standard errors on either side of a mean: 95 %
LARGEST = 3.5e38  # what is beyond float32 was not measured by a run
MOST_STEPS = 10**9
TEXTS = ("question_id", "source", "question", "answer")


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
        step = _index(record.get("step"), MOST_STEPS)
        if step < 0:
            damage["metrics.jsonl: records without a step that can be"] += 1
            continue
        numbers = {key: value for key, value in record.items() if _is_metric(key, value)}
        damage["metrics.jsonl: values that are no numbers"] += len(record) - len(numbers)
        by_step[step] = by_step.get(step, {}) | numbers
    config = _read_config(workdir / "config.json", damage)
    metrics = [by_step[step] for step in sorted(by_step)]
    return Run(workdir.resolve().name, workdir, config, metrics, damage)


def read_groups(workdir: Path, damage: Counter[str]) -> Iterator[Group]:
    """Every group of the rollout log in the order of steps, one at a time: a log may be larger than memory."""
    files = [path for path in (workdir / "rollouts").glob("step-*.jsonl") if path.is_file()]
    for path in sorted(files, key=lambda path: (_step_of(path), path.name)):
        for record in read_jsonl(path, damage):
            group = parse_group(record, damage)
            if group is not None:
                yield group


def read_jsonl(path: Path, damage: Counter[str]) -> Iterator[Record]:
    """The objects of a JSON-lines file; bytes that are not UTF-8 become U+FFFD, unreadable lines are counted."""
    if not path.exists():
        return
    try:
        opened = path.open(encoding="utf-8", errors="replace", newline="\n")
    except OSError as error:
        damage[f"{path.name}: cannot be opened ({error.strerror})"] += 1
        return
    with opened as lines:
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
    damage["rollout log: texts that are none"] += sum(
        isinstance(text, list | dict)
        for text in (*(record.get(name) for name in TEXTS), *(contexts if isinstance(contexts, list) else ()))
    )
    difficulty = _number(record.get("difficulty"), np.nan)
    return Group(
        step=_index(record.get("step"), MOST_STEPS),
        question_id=clean(record.get("question_id")),
        source=clean(record.get("source")),
        question=clean(record.get("question")),
        answer=clean(record.get("answer")),
        difficulty=difficulty if 0 <= difficulty <= 1 else None,
        contexts=[clean(text) for text in contexts] if isinstance(contexts, list) else [],
        rollouts=[_parse_rollout(rollout, len(kept), damage) for rollout in kept],
    )


def clean(value: object) -> str:
    """A text (or number) as valid Unicode: anything else is empty, surrogate halves (from cut JSON) become U+FFFD."""
    text = str(value) if isinstance(value, str | int | float) else ""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _parse_rollout(record: Record, group_size: int, damage: Counter[str]) -> Rollout:
    text, tokens = clean(record.get("text")), record.get("tokens")
    tokens = [clean(token) for token in tokens] if isinstance(tokens, list) else []
    count = len(tokens)
    peer = _index(record.get("peer", -1), group_size - 1)
    if peer < 0 and record.get("peer", -1) != -1:
        damage["rollout log: peers outside the group"] += 1
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
        context=_index(record.get("context"), MOST_STEPS),
        divergence=_index(record.get("divergence"), count),
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
    numbers = [_number(value, np.nan) for value in values[:count]]
    damage["rollout log: per-token values that are no numbers"] += sum(not is_number(value) for value in values)
    return np.array(numbers + [np.nan] * (count - len(numbers)), np.float32)


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
    # The comparison also holds for integers that no float can hold; nan compares false.
    return float(value) if isinstance(value, int | float) and -LARGEST < value < LARGEST else otherwise


def _index(value: object, high: int) -> int:
    """A whole number from 0 to `high`, -1 for anything else."""
    number = _number(value, -1)
    return int(number) if 0 <= number <= high and number == int(number) and not isinstance(value, bool) else -1


def _is_metric(key: str, value: object) -> bool:
    """A number, or a list of them where the name says so (kl_by_position)."""
    if key.endswith("_by_position"):
        return isinstance(value, list) and all(map(is_number, value))
    return is_number(value)


def is_number(value: object) -> bool:
    """Of the size of a float32, or one that is not finite (null or nan)."""
    if isinstance(value, float) and not math.isfinite(value):
        return True
    return value is None or isinstance(value, int | float) and -LARGEST < value < LARGEST


def _read_config(path: Path, damage: Counter[str]) -> Record:
    if not path.exists():
        return {}
    try:
        config = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError, RecursionError):
        config = None
    if isinstance(config, dict):
        return config
    damage["config.json: unreadable"] += 1
    return {}


def _step_of(path: Path) -> int:
    digits = path.stem.removeprefix("step-")
    return int(digits) if digits.isdecimal() and len(digits) < 20 else -1

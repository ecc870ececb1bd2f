"""Writing metrics down: one JSON object per step, TensorBoard events, and Weights & Biases where it is asked for."""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from etils import epath

from hsd_jax.runtime import files

Sink = Callable[[int, Mapping[str, Any]], None]

# Words with which a reasoning text weighs alternatives; losing them is how self-distillation grows over-confident.
HEDGES = re.compile(r"\b(wait|hmm|perhaps|maybe|actually|alternatively|seems|might|likely|check)\b", re.IGNORECASE)

TEXT_COUNTS = ("words", "hedges", "repeated", "responses")


def jsonl_sink(path: epath.Path) -> Sink:
    """Writes one line per step; a number that is not finite is written as null.

    The last step on file may lack numbers that a continued run still owes: these are added to its line.
    """
    held = path.read_text().splitlines()[-1:] if path.exists() else []
    last = json.loads(held[0]) if held else {}
    append = rewriting_sink(path) if files.is_remote(path) else appending_sink(path)

    def write(step: int, metrics: Mapping[str, Any]) -> None:
        if step != last.get("step"):
            return append(step, metrics)
        lines = path.read_text().splitlines(keepends=True)[:-1]
        files.replace(path, "".join([*lines, _line(step, last | dict(metrics))]))

    return write


def appending_sink(path: epath.Path) -> Sink:
    """Appends to a file of this machine."""

    def write(step: int, metrics: Mapping[str, Any]) -> None:
        with path.open("a") as file:
            file.write(_line(step, metrics))

    return write


def rewriting_sink(path: epath.Path) -> Sink:
    """Writes the whole file each time: object stores cannot append, but replace an object at once or not at all."""
    written: list[str] = []

    def write(step: int, metrics: Mapping[str, Any]) -> None:
        if not written:
            written.append(path.read_text() if path.exists() else "")
        written.append(_line(step, metrics))
        path.write_text("".join(written))

    return write


def _line(step: int, metrics: Mapping[str, Any]) -> str:
    return json.dumps({"step": step} | {name: _plain(value) for name, value in metrics.items()}) + "\n"


def tensorboard_sink(folder: str, start: int) -> Sink:
    """TensorBoard event files with every scalar; what an interrupted run wrote from `start` on is not shown."""
    from tensorboardX import SummaryWriter

    writer = SummaryWriter(folder, purge_step=start)

    def write(step: int, metrics: Mapping[str, Any]) -> None:
        for name, value in metrics.items():
            if isinstance(value, (int, float)):
                writer.add_scalar(name, value, step)
        writer.flush()

    return write


def wandb_sink(project: str, workdir: str, config: Mapping[str, Any]) -> Sink:
    """A Weights & Biases run; only called when a project is named."""
    import wandb

    run = wandb.init(project=project, dir=workdir, config=dict(config), resume="allow")
    return lambda step, metrics: run.log(dict(metrics), step=step)


def sinks(
    workdir: epath.Path, *, tensorboard: bool, wandb: str, config: Mapping[str, Any], start: int = 0
) -> list[Sink]:
    """Everything a run writes its metrics to, from step `start` on."""
    chosen = [jsonl_sink(workdir / "metrics.jsonl")]
    if tensorboard:
        chosen.append(tensorboard_sink(str(workdir / "tensorboard"), start))
    if wandb:
        chosen.append(wandb_sink(wandb, str(Path(workdir)), config))
    return chosen


def repeated_ngrams(ids: Sequence[int], n: int = 4) -> float:
    """Share of a response's n-grams that already occurred in it; 0 for responses shorter than n + 1."""
    grams = [tuple(ids[i : i + n]) for i in range(len(ids) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if len(grams) > 1 else 0.0


def text_counts(texts: Sequence[str], ids: Sequence[Sequence[int]]) -> dict[str, float]:
    """What only the host can count on a step's responses, by TEXT_COUNTS; counts add up over processes."""
    words = sum(len(text.split()) for text in texts)
    hedges = sum(len(HEDGES.findall(text)) for text in texts)
    return dict(zip(TEXT_COUNTS, (words, hedges, sum(map(repeated_ngrams, ids)), len(ids)), strict=True))


def text_means(counts: Mapping[str, float]) -> dict[str, float]:
    """Hedging words per 1,000 words, and the mean share of repeated n-grams."""
    return {
        "hedging": 1000 * counts["hedges"] / max(counts["words"], 1),
        "repeated_ngrams": counts["repeated"] / max(counts["responses"], 1),
    }


def text_metrics(texts: Sequence[str], ids: Sequence[Sequence[int]]) -> dict[str, float]:
    """Means over the responses of this process."""
    return text_means(text_counts(texts, ids))


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

"""Asks a model many questions; what it answers is saved as it comes, so an interrupted evaluation continues."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import jax
import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hsd_jax.data.problems import Problem
from hsd_jax.errors import InputError
from hsd_jax.evaluation.generate import EvalModel, Samples, answer, answer_all, from_json
from hsd_jax.evaluation.settings import EvalConfig
from hsd_jax.rollout.generate import Draws
from hsd_jax.rollout.grading import Submit
from hsd_jax.runtime import cli, random_keys
from hsd_jax.runtime.multihost import gather_json


def ask_and_save(
    model: EvalModel, problems: Sequence[Problem], asking: EvalConfig, submit: Submit, log_file: Path
) -> list[Samples]:
    """The answers to all problems, in order; those in `log_file` are not asked again, new ones are added to it.

    Accelerators would round the factors of float32 products; here they do not.
    """
    done = saved(log_file)
    draws = Draws(random_keys.key_of(asking.seed, 0, "evaluate"), asking.samples)
    ask = partial(answer, model, draws=draws, submit=submit)
    waiting = [problem for problem in problems if problem.id not in done]
    precision = jax.default_matmul_precision("highest" if asking.dtype == "float32" else None)
    with bar() as progress, cli.screened(), precision:
        task = progress.add_task("problems", total=len(problems), completed=len(problems) - len(waiting), rate="")
        for found in answer_all(ask, waiting, batch=asking.batch):
            done |= {one.id: one for one in found}
            append(log_file, found)
            rate = np.mean([np.mean(one.rewards) for one in done.values()])
            progress.update(task, advance=len(found), rate=f"pass@1 {rate:.3f}")
    return [done[problem.id] for problem in problems]


def bar() -> Progress:
    """The progress bar; only one process shows it."""
    columns = (
        TextColumn("{task.description}"),
        MofNCompleteColumn(),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[rate]}"),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    console = cli.console()
    return Progress(*columns, console=console, disable=jax.process_index() > 0 or not console.is_terminal)


def saved(log_file: Path) -> dict[str, Samples]:
    """The answers that process 0 has on file; a line that was cut off by an interruption is asked again.

    Raises: InputError for any other line that is no answer.
    """
    lines = log_file.read_text(encoding="utf-8", errors="replace").split("\n") if log_file.is_file() else []
    found = {}
    for number, line in enumerate(gather_json(lines[:-1])[0], 1):
        try:
            one = from_json(json.loads(line))
            found[one.id] = one
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(f"--out: {log_file}:{number} is no answer ({error}); pass another directory") from error
    return found


def append(log_file: Path, answered: Sequence[Samples]) -> None:
    """Adds answers to the log, one JSON object per line."""
    if jax.process_index():
        return
    cut_off = log_file.is_file() and not log_file.read_bytes().endswith(b"\n")
    if cut_off:
        whole = log_file.read_bytes().rpartition(b"\n")
        log_file.write_bytes(whole[0] + whole[1])
    with log_file.open("a", encoding="utf-8") as out:
        out.writelines(json.dumps(vars(one), ensure_ascii=False) + "\n" for one in answered)

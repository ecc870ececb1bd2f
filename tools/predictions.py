"""The paper's predictions on the tiny model that errs by habit: what was run, and whether each holds.

    python -m tools.predictions --quick          # one seed: the runs that are missing, then the page
    python -m tools.predictions                  # seeds 0, 1 and 2
    python -m tools.predictions --page-only      # the page from assets/predictions.json alone

Runs go to `--out`; what is finished is not run again, and an interrupted run continues. What the page needs of them is
kept in assets/predictions.json, and the page, docs/predictions.md, with its figure is made of that file alone.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from hsd_jax.errors import EXIT_DONE, EXIT_FAILED, InputError
from tools import prediction_figures, prediction_numbers, prediction_page, prediction_runs, prediction_views
from tools.prediction_runs import RATES, RULES, UNTUNED, Budget, Cell

KEPT, PAGE = Path("assets/predictions.json"), Path("docs/predictions.md")


@dataclass(frozen=True)
class Arguments:
    """What is run and where it goes."""

    out: Path = Path("runs/predictions")
    """Directory of the runs."""
    quick: bool = False
    """One seed alone."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of everything that is reported."""
    questions: int = 128
    """Held-out questions asked before and after training."""
    view_questions: int = 64
    """Questions whose rollouts are read by every view."""
    controls: bool = False
    """Also train with every control and gate."""
    collect_only: bool = False
    """Run nothing; keep what runs have finished, and make the page."""
    page_only: bool = False
    """Make the page from what was kept."""


def rates_chosen(folder: Path) -> dict[str, float]:
    """Each method's best learning rate on the tuning seed; `UNTUNED` for a method of which a rate is missing."""
    chosen = {}
    for method in ("hsd", "grpo"):
        scores = {rate: _score(folder, prediction_runs.cell(method, prediction_runs.TUNING, rate)) for rate in RATES}
        whole = all(score is not None for score in scores.values())
        chosen[method] = max(scores, key=lambda rate: scores[rate] or 0.0) if whole else UNTUNED
    return chosen


def _score(folder: Path, cell: Cell) -> float | None:
    if not prediction_runs.finished(folder, cell):
        return None
    found = prediction_numbers.rates(prediction_runs.right_of(folder / cell.folder / "answers" / "answers.jsonl"))
    return sum(found.values()) / len(found)


def cells_of(given: Arguments, seeds: Sequence[int]) -> list[Cell]:
    """What is reported, at the rates that were chosen; controls run at the rate of the configuration."""
    chosen = rates_chosen(given.out)
    names = ["hsd", "grpo", *(f"hsd+{rule}" for rule in RULES)]
    cells = [prediction_runs.cell(name, seed, chosen[name.split("+")[0]]) for seed in seeds for name in names]
    more = prediction_runs.control_names() if given.controls else []
    return [*cells, *(prediction_runs.cell(name, seed, UNTUNED) for seed in seeds for name in more)]


def run(given: Arguments, seeds: Sequence[int]) -> bool:
    """Runs what is missing; whether all came to their end."""
    budget = Budget(questions=given.questions)
    for seed in seeds:
        prediction_runs.base(given.out, seed, budget)
    done = [prediction_runs.finish(cell, given.out, budget) for cell in prediction_runs.tuning()]
    return all([*done, *(prediction_runs.finish(cell, given.out, budget) for cell in cells_of(given, seeds))])


def collect(given: Arguments, seeds: Sequence[int]) -> dict[str, Any]:
    """What the page needs of the runs that are finished."""
    kept: dict[str, Any] = {"commit": _commit(), "chosen": rates_chosen(given.out), "seeds": {}, "tuning": {}}
    for cell in prediction_runs.tuning():
        kept["tuning"] |= {cell.folder: score} if (score := _score(given.out, cell)) is not None else {}
    for seed in seeds:
        answers = given.out / f"base-{seed}" / "answers.jsonl"
        if not (given.out / f"base-{seed}" / "result.json").is_file():
            continue
        before = prediction_runs.right_of(answers)
        kept["seeds"][str(seed)] = {
            "base": prediction_numbers.rates(before),
            "coverage": prediction_numbers.coverage(before),
            "views": _views(given, answers),
            "after": _after(given.out, seed),
        }
    return kept


def _views(given: Arguments, answers: Path) -> dict[str, Any]:
    """The views' numbers of an evaluation, kept beside it, since reading takes a minute."""
    file = answers.with_name(f"views-{given.view_questions}.json")
    if not file.is_file():
        groups = prediction_views.read_groups(answers, given.view_questions)
        found = prediction_views.measure(prediction_views.open_reader(), groups, [*prediction_views.VIEWS])
        made = {name: prediction_numbers.of_view(credits, len(groups)) for name, credits in found.items()}
        file.write_text(json.dumps(made))
    return json.loads(file.read_text())


def _after(folder: Path, seed: int) -> dict[str, Any]:
    """Of every finished cell of a seed: each question's share of right samples, and pass@k."""
    found = {}
    for path in sorted(folder.glob(f"*-{seed}/answers/result.json")):
        name = path.parents[1].name.removesuffix(f"-{seed}")
        right = prediction_runs.right_of(path.with_name("answers.jsonl"))
        at_k = {
            f"pass@{k}": sum(values) / len(values) for k in (4, 16) if (values := prediction_numbers.pass_at(right, k))
        }
        found[name] = {"rates": prediction_numbers.rates(right), **at_k}
    return found


def _commit() -> str:
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return done.stdout.strip()


def main(argv: Sequence[str]) -> int:
    """The command; returns its exit code."""
    given = tyro.cli(Arguments, args=list(argv), prog="python -m tools.predictions", description=__doc__)
    seeds = given.seeds[:1] if given.quick else given.seeds
    whole = given.page_only or given.collect_only or run(given, seeds)
    if not given.page_only:
        kept = collect(given, seeds)
        if not kept["seeds"]:
            raise InputError(f"--out {given.out}: holds no evaluation of the base; run without --collect-only")
        KEPT.write_text(json.dumps(kept) + "\n")
    if not KEPT.is_file():
        raise InputError(f"{KEPT} is not here; run without --page-only")
    kept = json.loads(KEPT.read_text())
    PAGE.write_text(prediction_page.page(kept))
    prediction_figures.write(kept, PAGE.parent / "pictures")
    print(f"wrote {PAGE}")
    return EXIT_DONE if whole else EXIT_FAILED


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except InputError as error:
        sys.exit(f"error: {error}")

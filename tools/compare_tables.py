"""The comparison of methods as Markdown tables."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tools.compare_runs import (
    GOOD,
    Finished,
    curve,
    has_collapsed,
    last,
    recent,
    step_of_fall,
    step_of_good,
    warnings,
)

Runs = Mapping[str, Sequence[Finished]]
SIGNS = 6  # signs that the table of warnings names for each run


def of_methods(runs: Runs) -> str:
    """One row per method; mean over the seeds, lowest to highest in brackets."""
    head = (
        *("method", "seeds", "steps", "pass@1 before", "pass@1 after", "greedy after", f"step of pass@1 ≥ {GOOD:g}"),
        *("KL to reference", "response length", "repeated n-grams", "collapsed"),
    )
    rows = [head, *(_row(name, of_seeds) for name, of_seeds in runs.items())]
    commits = sorted({run.commit[:9] + run.commit[40:] for of_seeds in runs.values() for run in of_seeds} - {""})
    notes = [
        "Mean over the seeds, lowest to highest in brackets. pass@1 and greedy are of held-out problems; the KL, length"
        " and repetition are means over the last 5 training steps (a method without reference KL measures none)."
        " Collapsed: pass@1 ended below half of its best.",
        f"Commits: {', '.join(commits) or 'not recorded'}.",
    ]
    return f"{markdown(rows)}\n\n" + "\n".join(notes) + "\n"


def _row(name: str, runs: Sequence[Finished]) -> tuple[str, ...]:
    reached = [step for step in map(step_of_good, runs) if np.isfinite(step)]
    share = "" if len(reached) == len(runs) else f", {len(reached)} of {len(runs)} seeds"
    ends = sorted({int(curve(run, "eval/pass@1")[0][-1]) for run in runs})
    return (
        f"`{name}`",
        str(len(runs)),
        f"{ends[0]}" if len(ends) == 1 else f"{ends[0]}–{ends[-1]}",
        spread(runs, lambda run: float(curve(run, "eval/pass@1")[1][0])),
        spread(runs, lambda run: last(run, "eval/pass@1")),
        spread(runs, lambda run: last(run, "eval/greedy")),
        f"{_interval(reached, '.0f')}{share}" if reached else "–",
        spread(runs, lambda run: recent(run, "kl_reference")),
        spread(runs, lambda run: recent(run, "response_length"), ".1f"),
        spread(runs, lambda run: recent(run, "repeated_ngrams")),
        f"{sum(map(has_collapsed, runs))} of {len(runs)}",
    )


def of_warnings(runs: Runs) -> str:
    """One row per run: when pass@1 fell, and the first signs with their steps."""
    rows = [("run", "pass@1 best", "pass@1 after", "fell at step", "first signs (step)")]
    for name, of_seeds in runs.items():
        for run in of_seeds:
            _, scores = curve(run, "eval/pass@1")
            fall = step_of_fall(run)
            signs = sorted(warnings(run).items(), key=lambda sign: sign[1])[:SIGNS]
            listed = ", ".join(f"{sign} ({step})" for sign, step in signs) or "none"
            fell = f"{fall:.0f}" if np.isfinite(fall) else "–"
            rows.append((f"`{name}` {run.seed}", f"{scores.max():.3f}", f"{scores[-1]:.3f}", fell, listed))
    note = (
        "Fell: first evaluation with pass@1 0.1 below its best. Signs: `guard` is an alarm of the training run, `watch`"
        " and `act` are levels of the report's health panel, counted from where the check was once ok, `rise` is the"
        " mean of 5 steps above 5 times (entropy: twice) that of the first 10."
    )
    return f"{markdown(rows)}\n\n{note}\n"


def of_signs(runs: Runs) -> str:
    """One row per sign: how long before the fall it came, in how many runs that fell, and how often in vain."""
    everyone = [run for of_seeds in runs.values() for run in of_seeds]
    falls = [(step_of_fall(run), warnings(run)) for run in everyone]
    fell = [(step, given) for step, given in falls if np.isfinite(step)]
    stood = [given for step, given in falls if not np.isfinite(step)]
    rows = []
    for sign in {sign for _, given in falls for sign in given}:
        leads = [step - given[sign] for step, given in fell if given.get(sign, np.inf) < step]
        vain = sum(sign in given for given in stood)
        mean = float(np.mean(leads)) if leads else float("nan")
        rows.append(
            (vain / max(len(stood), 1) - len(leads) / max(len(fell), 1), -np.nan_to_num(mean), sign, leads, vain)
        )
    head = ("sign", "steps before the fall", f"before the fall, of {len(fell)} runs", f"in vain, of {len(stood)} runs")
    body = [
        (f"`{sign}`", _interval(leads, ".0f") if leads else "–", str(len(leads)), str(vain))
        for _, _, sign, leads, vain in sorted(rows, key=lambda row: row[:3])
    ]
    note = "Most telling signs first: those of runs that fell and of no others. In vain: the run did not fall."
    return f"{markdown([head, *body])}\n\n{note}\n"


def spread(runs: Sequence[Finished], measure: Callable[[Finished], float], form: str = ".3f") -> str:
    """Mean (lowest–highest) of a measure over runs; a dash where no run has it."""
    values = [value for value in map(measure, runs) if np.isfinite(value)]
    return _interval(values, form) if values else "–"


def _interval(values: Sequence[float], form: str) -> str:
    mean = format(float(np.mean(values)), form)
    return mean if min(values) == max(values) else f"{mean} ({min(values):{form}}–{max(values):{form}})"


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table of a head and its rows."""
    lines = ["| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])

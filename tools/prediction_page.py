"""docs/predictions.md: each prediction with its numbers and whether it holds, made of what `tools.predictions` kept.

An interval is over questions, values averaged over the seeds first; seeds are in the table where there are several.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from hsd_jax.reporting.coverage import most_recoverable
from tools import prediction_views
from tools.compare_tables import markdown
from tools.prediction_numbers import SIZES, STRATA, interval, shown
from tools.prediction_runs import CONTROLS, GATES, RATES, RULES, STEPS

Kept = Mapping[str, Any]
Numbers = Sequence[float | None]
PEERS = ("answer and correct peer (hsd)", "correct peer (sdpo)")
TERSE = ("the wrapper alone", "answer (opsd)", "last 2 results", "last 4 results", "all results", "reference solution")
HEAD = """# The paper's predictions on the tiny model

Made by `python -m tools.predictions` (`--page-only` makes it anew from assets/predictions.json). The model is
the tiny one that errs by habit ([tiny_model.md](tiny_model.md)), before training unless it says otherwise.
Intervals are 95 % bootstrap intervals over held-out questions; with few seeds they say nothing of other seeds.
Whether a prediction holds is decided by the rule in its section: on means, so that neighboring intervals may
overlap. The rules were fixed before these numbers, but with the credit profile of RESULTS.md known.
"""


def page(kept: Kept) -> str:
    """The whole page."""
    seeds = ", ".join(kept["seeds"])
    made = f"Commit {kept['commit']}; seeds {seeds}; learning rates {_chosen(kept)}.\n"
    parts = (localized(kept), silent(kept), covered(kept), gains(kept), rules(kept), controls(kept))
    return "\n".join([HEAD, made, *parts])


def _chosen(kept: Kept) -> str:
    how = "chosen" if len(kept["tuning"]) == 2 * len(RATES) else "not tuned: of the rates to try"
    said = ", ".join(f"{name} {rate:g}" for name, rate in kept["chosen"].items())
    return f"{said} ({how} {len(kept['tuning'])} of {2 * len(RATES)} were run on the tuning seed)"


def over_seeds(kept: Kept, get: Any) -> list[float | None]:
    """For each question the mean over seeds of `get(seed's numbers)`, a list by question; None where none has it."""
    columns = [get(seed) for seed in kept["seeds"].values()]
    held = [[value for value in values if value is not None] for values in zip(*columns, strict=True)]
    return [float(np.mean(values)) if values else None for values in held]


def of_view(kept: Kept, view: str, part: str) -> list[float | None]:
    """A number of a view by question."""
    return over_seeds(kept, lambda seed: seed["views"][view][part])


def verdict(holds: bool | None) -> str:
    """In a word."""
    return "**not decided**" if holds is None else "**holds here**" if holds else "**refuted here**"


def localized(kept: Kept) -> str:
    """(a)"""
    head = ("the teacher reads", "|A| before", "at the divergence", "next 5 tokens", "later", "rollouts")
    rows: list[tuple[str, ...]] = [head]
    for view in prediction_views.VIEWS:
        parts = [shown(of_view(kept, view, part), f"{view}{part}") for part in ("before", "at", "near", "later")]
        rows.append((view, *parts, str(sum(seed["views"][view]["rollouts"] for seed in kept["seeds"].values()))))
    before, at, near, later = (interval(of_view(kept, PEERS[0], p), p)[0] for p in ("before", "at", "near", "later"))
    holds = before < 0.1 * at and near < 0.5 * at and later < 0.5 * at
    return f"""## a. Credit is near zero before the divergence, peaks at it, decays after it: {verdict(holds)}

Rule: for hsd the mean |A| (nats) before the divergence is below a tenth of that at it, and both the next 5
tokens and all later ones are below half of it. The divergence is the first token that differs from a correct
attempt; rollouts without one do not enter.

{markdown(rows)}

![Mean |credit| by offset from the divergence](pictures/predictions-credit.png)
"""


def silent(kept: Kept) -> str:
    """(b)"""
    sizes = [interval(of_view(kept, view, "at"), view)[0] for view in TERSE]
    peer = interval(of_view(kept, PEERS[0], "at"), "b")[0]
    rows: list[tuple[str, ...]] = [
        (
            "in place of the answer",
            "|A| at the divergence",
            "over the whole rollout",
            "share of hsd's at the divergence",
        )
    ]
    for view, size in zip(TERSE, sizes, strict=True):
        parts = [shown(of_view(kept, view, part), f"{view}{part}b") for part in ("at", "whole")]
        rows.append((view, *parts, f"{size / peer:.2f}"))
    holds = sizes[1] < 0.25 * peer and bool(np.all(np.diff(sizes[1:]) > 0))
    return f"""## b. An answer-only teacher is silent, the more so the terser the answer: {verdict(holds)}

Rule: the answer's |A| at the divergence is below a quarter of hsd's, and it grows with every row from the
answer to the reference solution. The base was pre-trained on answers and solutions, and on nothing between
them.

{markdown(rows)}
"""


def _coverage(size: str, key: str, seed: Mapping[str, Any]) -> list[float]:
    return seed["coverage"][size][key]


def covered(kept: Kept) -> str:
    """(c)"""
    rows = [("G", "failed with a success beside it", "f(p, G), p of other samples", "difference", "f(mean p, G)")]
    inside = []
    for size in SIZES:
        seen, said = (over_seeds(kept, partial(_coverage, str(size), key)) for key in ("seen", "said"))
        gap = [a - b for a, b in zip(seen, said, strict=True) if a is not None and b is not None]
        rate = float(np.mean([*over_seeds(kept, lambda seed: list(seed["base"].values()))]))  # type: ignore[arg-type]
        pooled = (1 - rate) * (1 - (1 - rate) ** (size - 1))
        _, low, high = interval(gap, f"gap{size}")
        inside.append(low <= 0 <= high)
        cells = (shown(seen, f"seen{size}"), shown(said, f"said{size}"), shown(gap, f"gap{size}"), f"{pooled:.3f}")
        rows.append((str(size), *cells))
    return f"""## c. Coverage follows f(p, G) = (1 - p)(1 - (1 - p)^(G-1)): {verdict(all(inside))}

Rule: for every G the interval of the difference holds 0. With rollouts drawn independently the formula is
arithmetic question by question; what is tested is that, and not that one p speaks for all questions (last
column).

{markdown(rows)}
"""


def _gain(kept: Kept, name: str) -> tuple[list[float | None], list[float | None]] | None:
    """By question: the base's p, and how much a cell gained; over the seeds that have the cell."""
    held = {s: seed for s, seed in kept["seeds"].items() if name in seed["after"]}
    if not held:
        return None
    part = {**kept, "seeds": held}
    base = over_seeds(part, lambda seed: [seed["base"][q] for q in sorted(seed["base"])])
    after = over_seeds(part, lambda seed: [seed["after"][name]["rates"].get(q) for q in sorted(seed["base"])])
    return base, [None if b is None or a is None else a - b for b, a in zip(base, after, strict=True)]


def gains(kept: Kept) -> str:
    """(d)"""
    names = [f"{method}-{kept['chosen'][method]:g}" for method in ("hsd", "grpo")]
    hsd, grpo = (_gain(kept, name) for name in names)
    title = "## d. The gain of HSD over GRPO at equal rollouts peaks near p* and vanishes near p = .8"
    if hsd is None or grpo is None:
        return f"{title}: {verdict(None)}\n\nNot run: {' and '.join(names)}.\n"
    best, _ = most_recoverable(8)
    rows: list[tuple[str, ...]] = [("p before", "questions", "gain of HSD", "gain of GRPO", "HSD - GRPO")]
    means = []
    for low, high in STRATA:
        inside = [q for q, p in enumerate(hsd[0]) if p is not None and low <= p < high]
        values = [[gain[q] for q in inside] for _, gain in (hsd, grpo)]
        apart = [a - b for a, b in zip(*values, strict=True) if a is not None and b is not None]
        means.append(interval(apart, f"{low}")[0])
        rows.append(
            (f"{low:g} to {high:g}", str(len(inside)), *(shown(v, f"{low}{i}") for i, v in enumerate([*values, apart])))
        )
    peak = STRATA[int(np.nanargmax(means))]
    return f"""{title}: {verdict(peak[0] <= best < peak[1])}

Rule: the stratum with the largest difference holds p* = {best:.3f} (G = 8). After {STEPS} steps of 16 x 8
rollouts each. All strata are trained together, and a habit that is unlearnt on one question is unlearnt on all,
so this can refute the formula as a forecast of gains by stratum, but hardly confirm it; no question of this
task has p near .8.

{markdown(rows)}
"""


def rules(kept: Kept) -> str:
    """(e)"""
    rate = kept["chosen"]["hsd"]
    found = {
        rule: _gain(kept, f"hsd+{rule}-{rate:g}" if rule != "uniform" else f"hsd-{rate:g}")
        for rule in ("low_perplexity", "uniform", *RULES[::2])
    }
    rows = [("peer rule", "gain in pass@1", "minus uniform's")]
    uniform = found["uniform"]
    for rule, gain in found.items():
        apart = (
            [a - b for a, b in zip(gain[1], uniform[1], strict=True) if a is not None and b is not None]
            if gain and uniform
            else []
        )
        rows.append((rule, shown(gain[1], rule) if gain else "not run", shown(apart, f"{rule}u") if apart else "–"))
    means = [interval(gain[1], "e")[0] for gain in found.values() if gain]
    holds = None if len(means) < len(found) else bool(np.all(np.diff(means) <= 0))
    return f"""## e. Peer rules: lowest perplexity ≥ uniform > shortest > highest perplexity: {verdict(holds)}

Rule: the means have this order. All right solutions of a question of this task have nearly one length, so
`shortest` differs from `uniform` by little but which rollout is taken among equals.

{markdown(rows)}
"""


def controls(kept: Kept) -> str:
    """The controls: what is known without training, and the gains of the runs that there are."""
    rows: list[tuple[str, ...]] = [
        ("the teacher reads", "AUC", "AUC, length out", "KL on the reference's tokens", "KL behind the divergence")
    ]
    for view in [*prediction_views.VIEWS][:7]:
        parts = ("auc", "auc_length", "kl_on", "kl_off")
        rows.append((view, *(shown(of_view(kept, view, part), f"{view}{part}c") for part in parts)))
    contexts = ("hsd", "opsd", *(f"hsd+{control}" for control in CONTROLS))
    names = [context if gate == "all" else f"{context}+{gate}" for context in contexts for gate in GATES]
    trained: list[tuple[str, ...]] = [("trained as", "seeds", "gain in pass@1", "share of hsd's gain", "pass@16 after")]
    whole = _gain(kept, "hsd-0.0002")
    for name in [*names, "sdpo", "grpo"]:
        gain = _gain(kept, f"{name}-0.0002")
        if gain is None or whole is None:
            continue
        of_seed = [
            seed["after"][f"{name}-0.0002"] for seed in kept["seeds"].values() if f"{name}-0.0002" in seed["after"]
        ]
        share = interval(gain[1], "s")[0] / interval(whole[1], "s")[0]
        at_16 = float(np.mean([one["pass@16"] for one in of_seed]))
        trained.append((name, str(len(of_seed)), shown(gain[1], f"{name}t"), f"{share:.2f}", f"{at_16:.3f}"))
    missing = len(names) + 2 - (len(trained) - 1)
    return f"""## Controls

AUC: how often a right rollout has more mean credit than a wrong one of its question, before training (.5:
credit knows nothing of it). A rollout for which a control has nothing to read is left out.

{markdown(rows)}

After {STEPS} steps at the learning rate of configs/tiny.py, equal rollouts; {missing} of {len(names) + 2} cells
(contexts by gates, sdpo, grpo) have not been run.

{markdown(trained)}
"""

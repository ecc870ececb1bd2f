"""What the texts of a step are assumed to be, and the rows of the update that they fill."""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from hsd_jax.config import Config
from hsd_jax.methods import row
from hsd_jax.methods.row import Method
from hsd_jax.reading.pieces import most_contexts
from hsd_jax.scoring.batch_layout import BatchLayout
from hsd_jax.scoring.bin_packing import Lengths, RowPlan
from hsd_jax.scoring.packing import Sizes

MEAN_SHARE = 3 / 8  # of the cap: the mean response where none is given
ALIKE = 0.5  # correlation of the log lengths within a group: what is hard for one rollout is for the others
ANSWER_TOKENS, FIXED_TOKENS = 64, 48  # of the true answer, and of the fixed texts around it and a peer


@dataclass(frozen=True)
class Workload:
    """The texts of a step, in tokens. Responses are log-normal: mean, spread (standard deviation / mean), cut at a cap.

    `caps` are those of consecutive questions, again and again: of math and of code in the mixture's shares. `views`
    read something privileged; `contexts` are the distinct ones of a group in each, with the question, `answer` and a
    mean response; `reference` and `old_policy` say whether the question's context is read once more by either.
    """

    problems: int
    group: int
    prompt: int
    answer: int
    mean: float
    spread: float
    caps: tuple[int, ...]
    contexts: int
    reference: bool
    old_policy: bool = False
    views: int = 1

    @property
    def rollouts(self) -> int:
        """Responses in a step."""
        return self.problems * self.group


def workload(config: Config, method: Method, *, mean: float, prompt: int) -> Workload:
    """What a step's texts are assumed to be."""
    cap, code = config.sampling.response_tokens, config.sampling.code_response_tokens
    caps = (cap,) * config.data.mixture[0] + (code,) * config.data.mixture[1] if code > cap else (cap,)
    contexts = [most_contexts(reads, config.sampling.group_size) for reads in row.readings(method)]
    return Workload(
        problems=config.data.problems_per_step,
        group=config.sampling.group_size,
        prompt=prompt or config.data.prompt_tokens // 4,
        answer=ANSWER_TOKENS,
        mean=mean or cap * MEAN_SHARE,
        spread=0.6,
        caps=caps,
        contexts=max(contexts, default=0),
        views=len(contexts),
        reference=bool(method.beta),
        old_policy=row.is_scored_beforehand(method),
    )


def log_lengths(work: Workload) -> NormalDist:
    """The logarithm of a response's length, before it is cut."""
    sigma = math.sqrt(math.log(1 + work.spread**2))
    return NormalDist(math.log(work.mean) - sigma**2 / 2, sigma)


def response_lengths(work: Workload, count: int) -> list[float]:
    """`count` evenly spaced quantiles of the response length, cut at the commonest cap."""
    normal = log_lengths(work)
    return [min(math.exp(normal.inv_cdf((i + 0.5) / count)), work.caps[0]) for i in range(count)]


def draw_lengths(work: Workload, rng: np.random.Generator) -> np.ndarray:
    """Lengths [P, G] as a step may sample them: those of one question are alike (correlation .5 of the logarithms)."""
    normal = log_lengths(work)
    shared_P1, own_PG = rng.normal(size=(work.problems, 1)), rng.normal(size=(work.problems, work.group))
    logs_PG = normal.mean + normal.stdev * (math.sqrt(ALIKE) * shared_P1 + math.sqrt(1 - ALIKE) * own_PG)
    caps_P = np.resize(work.caps, work.problems)
    return np.clip(np.ceil(np.exp(logs_PG)), 1, caps_P[:, None]).astype(np.int64)


def planned_rows(layout: BatchLayout, work: Workload, window: int, *, seed: int = 0) -> RowPlan:
    """The rows that one step of such texts would fill, with evenly spaced lengths; who shares a group is drawn."""
    rng = np.random.default_rng(seed)
    lengths = np.ceil(rng.permutation(response_lengths(work, work.rollouts))).astype(np.int64)
    return rows_of(layout, work, window, lengths.reshape(work.problems, work.group), rng)


@dataclass(frozen=True)
class DrawnRows:
    """The rows of many steps with drawn lengths: distinct update programs (0: windows), share of places filled.

    `places` (mean) and `widest` are a row's places in all passes, over those of `planned_rows`.
    """

    steps: int
    programs: int
    filled: float
    places: float
    widest: float


def drawn_rows(layout: BatchLayout, work: Workload, window: int, steps: int, *, seed: int = 0) -> DrawnRows:
    """Plans the rows of so many steps, one after the other, as a run does: sizes that were met are used again."""
    rng, met, plans = np.random.default_rng(seed), dict[tuple[Sizes, ...], None](), []
    for _ in range(steps):
        plans.append(rows_of(layout, work, window, draw_lengths(work, rng), rng, tuple(met)))
        met.setdefault(plans[-1].sizes)
    filled = float(np.mean([plan.utilization for plan in plans]))
    if plans[0].sizes == ():
        return DrawnRows(steps, 0, filled, 1.0, 1.0)
    compiled = row_places(planned_rows(layout, work, window).sizes)
    places = [row_places(plan.sizes) / compiled for plan in plans]
    return DrawnRows(steps, len(met), filled, float(np.mean(places)), max(places))


def row_places(sizes: tuple[Sizes, ...]) -> int:
    """Places of one row in all passes."""
    return sum(size.context_tokens + size.response_tokens for size in sizes)


def rows_of(
    layout: BatchLayout, work: Workload, window: int, length_PG: np.ndarray, rng: np.random.Generator, known: Any = ()
) -> RowPlan:
    """The rows that responses of these lengths fill, with peers drawn; `known` are the sizes met before."""
    prompts_P1 = np.full((work.problems, 1), work.prompt)
    streams = [Lengths(prompts_P1, np.zeros_like(length_PG))]
    if work.contexts:
        peers_PM = np.argsort(rng.random(length_PG.shape), axis=1)[:, : work.contexts]
        read_PM = np.take_along_axis(length_PG, peers_PM, axis=1) * (work.contexts > 1)
        # all read the first peer, and the first peer reads the second
        of_PG = (np.arange(work.group)[None] == peers_PM[:, :1]).astype(int) % work.contexts
        if work.contexts == work.group:
            of_PG = np.broadcast_to(np.arange(work.group), length_PG.shape)
        fixed = work.prompt + work.answer + FIXED_TOKENS
        streams += [Lengths(np.minimum(fixed + read_PM, window), of_PG)] * work.views
    return layout.plan(length_PG, streams, known)

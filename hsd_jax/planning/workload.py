"""What the texts of a step are assumed to be, and the rows of the update that they fill."""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from hsd_jax.config import Config
from hsd_jax.methods import row
from hsd_jax.methods.row import Method
from hsd_jax.reading.pieces import most_contexts
from hsd_jax.scoring.batch_layout import BatchLayout
from hsd_jax.scoring.bin_packing import Lengths, RowPlan

MEAN_SHARE = 3 / 8  # of the cap: the mean response where none is given
ANSWER_TOKENS, FIXED_TOKENS = 64, 48  # of the true answer, and of the fixed texts around it and a peer


@dataclass(frozen=True)
class Workload:
    """The texts of a step, in tokens. Responses are log-normal: mean, spread (standard deviation / mean), cut at `cap`.

    `views` read something privileged; `contexts` are the distinct ones of a group in each, with the question, `answer`
    and a mean response;
    `reference` and `old_policy` say whether the question's context is read once more by either.
    """

    problems: int
    group: int
    prompt: int
    answer: int
    mean: float
    spread: float
    cap: int
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
    cap = config.sampling.response_tokens
    contexts = [most_contexts(reads, config.sampling.group_size) for reads in row.readings(method)]
    return Workload(
        problems=config.data.problems_per_step,
        group=config.sampling.group_size,
        prompt=prompt or config.data.prompt_tokens // 4,
        answer=ANSWER_TOKENS,
        mean=mean or cap * MEAN_SHARE,
        spread=0.6,
        cap=cap,
        contexts=max(contexts, default=0),
        views=len(contexts),
        reference=bool(method.beta),
        old_policy=row.is_scored_beforehand(method),
    )


def response_lengths(work: Workload, count: int) -> list[float]:
    """`count` evenly spaced quantiles of the response length."""
    sigma = math.sqrt(math.log(1 + work.spread**2))
    mu = math.log(work.mean) - sigma**2 / 2
    normal = NormalDist(mu, sigma)
    return [min(math.exp(normal.inv_cdf((i + 0.5) / count)), work.cap) for i in range(count)]


def planned_rows(layout: BatchLayout, work: Workload, window: int, *, seed: int = 0) -> RowPlan:
    """The rows that one step of such texts would fill; which responses share a group is drawn."""
    rng = np.random.default_rng(seed)
    lengths = np.ceil(rng.permutation(response_lengths(work, work.rollouts))).astype(np.int64)
    length_PG = lengths.reshape(work.problems, work.group)
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
    return layout.plan(length_PG, streams, ())

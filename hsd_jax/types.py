"""The alphabet of array axes and the records that travel between stages.

Array names end in their axes, once and everywhere:

    P  problems of a step              V  vocabulary
    G  rollouts of a problem (group)   N  flat tokens (in models/: query heads)
    C  context window, tokens          B  rows           S  sequence = context + response
    T  response window, tokens         L  layers         D  width        F  mlp width
    M  distinct teacher contexts       K  key/value heads                H  head size
    A  rank of an adapter            X  any other window of tokens

`valid` marks a real token (bool); `weights` is a share of the loss (float); both are never called "mask". Token
windows are padded on the right and come with a length, so a pad can never stand between two real tokens.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import jax
from jax.tree_util import register_dataclass

Array = jax.Array


@register_dataclass
@dataclass(frozen=True)
class Padded:
    """Token sequences of different lengths in one window: `tokens[..., X]` int32, right-padded; `length[...]`."""

    tokens: Array
    length: Array


@register_dataclass
@dataclass(frozen=True)
class Problems:
    """One step's questions as token pieces; concatenated they give every prompt (see `contexts`).

    `id_P` (uint32) is a stable hash of the question id and addresses all randomness of the question. `head` is the
    opening of the user turn with the question, `tail` the task instruction with the generation prompt; `answer`,
    `solution` and, for every rollout [P, G], `feedback` and `wrong_answer` are privileged blocks (length 0: not known);
    `limit_P` is the longest response allowed, in tokens; `further` holds what else a method reads, by name: "rubric",
    "canonical" (another wording of the prompt), "skill0" and so on, "golden" (a response), "teacher_tail".
    """

    id_P: Array
    prefix: Padded
    answer: Padded
    solution: Padded
    feedback: Padded
    wrong_answer: Padded
    suffix: Padded
    limit_P: Array
    further: Mapping[str, Padded] = field(default_factory=dict)

    def text(self, block: str) -> Padded:
        """A block by its name."""
        return self.further[block] if block in self.further else getattr(self, block)


@register_dataclass
@dataclass(frozen=True)
class Rollouts:
    """What the policy wrote: ids with the sampled stop id kept, right-padded.

    `logprob_PGT` is the untruncated log-probability (nats, temperature 1) of each sampled id; `finished_PG` says
    that a stop id was sampled before the limit.
    """

    response_PGT: Array
    length_PG: Array
    finished_PG: Array
    logprob_PGT: Array


@register_dataclass
@dataclass(frozen=True)
class Contexts:
    """What is read before a response: the M distinct contexts of a problem and the one each rollout uses.

    `of_PG` indexes the M axis. A rollout without context (nothing privileged is known) has weight 0 in the loss.
    """

    tokens_PMC: Array
    length_PM: Array
    context_index_PG: Array


SUCCESS = 0.5  # a rollout with a reward above it succeeded

Reason = Literal["correct", "wrong", "unknown words", "no_answer", "unparsed", "timeout", "crash"]
REASONS: tuple[Reason, ...] = get_args(Reason)
Phase = Literal["start", "sample", "grade", "update", "evaluate", "log", "save"]
PHASES: tuple[Phase, ...] = get_args(Phase)


@dataclass(frozen=True)
class Verdict:
    """A verifier's word on one response: reward in [0, 1], why, and the answer it read (None: none found).

    `detail` is what the response itself got wrong, in words that may be shown to a teacher ("": nothing to say).
    """

    reward: float
    reason: Reason
    extracted: str | None = None
    detail: str = ""


PyTree = Any

"""The first two stages of a step: sample groups of responses, and grade each while the others are still written."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import count
from typing import Any

import grain
import jax
import numpy as np

from hsd_jax import advantages
from hsd_jax.config import Config
from hsd_jax.data.problems import Problem
from hsd_jax.data.tokenization import Windows, feedback_ids, wrong_answer_ids
from hsd_jax.methods import row
from hsd_jax.methods.row import Method
from hsd_jax.reading.pieces import reads_block
from hsd_jax.rollout import feedback
from hsd_jax.rollout.generate import Draws, generate_and_grade
from hsd_jax.rollout.grading import GradedBatch, Submit
from hsd_jax.runtime import multihost, random_keys
from hsd_jax.runtime.multihost import gather_json
from hsd_jax.runtime.timing import Clock
from hsd_jax.sampler.decode_sharding import DecodeParams
from hsd_jax.setup.sampling import Sampler
from hsd_jax.types import Problems, Rollouts, Verdict
from models.qwen3 import Params

Gather = Callable[[Any], list[Any]]  # a JSON value of this process -> those of all processes, in their order


@dataclass(frozen=True)
class Batch:
    """One step's graded groups on this process, as host arrays.

    `drawn` counts the questions that were sampled, `slot_steps` the decode steps in which a slot wrote, and all.
    """

    step: int
    problems: Sequence[Problem]
    pieces: Problems
    rollouts: Rollouts
    graded: GradedBatch
    drawn: int
    slot_steps: tuple[int, int] = (0, 0)

    @property
    def arrays(self) -> tuple[Problems, Rollouts, np.ndarray]:
        """What an update reads of it."""
        return self.pieces, self.rollouts, self.graded.rewards_PG


@dataclass(frozen=True)
class RolloutStage:
    """How groups come about; `steps` holds the questions of each draw, a step has at most `method.attempts` of them."""

    config: Config
    method: Method
    sampler: Sampler
    steps: grain.MapDataset[list[Problem]] | Sequence[Sequence[Problem] | None]
    submit: Submit


def weights_for_sampling(stage: RolloutStage, params: Params, clock: Clock) -> DecodeParams:
    """The policy where and as it decodes. All hosts exchange weights here, and do not again until the update."""
    with clock.phase("sample"):
        return stage.sampler.weights_of(params)


def sample_and_grade(stage: RolloutStage, weights: DecodeParams, step: int, clock: Clock) -> Batch:
    """G graded rollouts of every question of a step, from the policy as it decodes.

    A method that resamples draws further batches of questions, up to its number of attempts, and keeps groups of
    unequal rewards; if too few are found, groups of equal rewards fill the step (their advantage is zero). All
    processes decide together, so that their number changes nothing.
    Source: arXiv:2503.14476 (dynamic sampling).
    """

    def draw(attempt: int) -> Batch:
        return _draw(stage, weights, step, attempt, clock)

    if stage.method.attempts == 1:
        return draw(0)
    gather = patient_gather(step)
    return fill(until_enough(map(draw, range(stage.method.attempts)), gather), gather, jax.process_index())


def _draw(stage: RolloutStage, weights: DecodeParams, step: int, attempt: int, clock: Clock) -> Batch:
    """Graded groups of an attempt's questions; one that is drawn again in the step is answered anew."""
    config, problems = stage.config, stage.steps[(step - 1) * stage.method.attempts + attempt] or ()
    key = random_keys.key_of(config.seed, step, "sample", attempt)
    draws = Draws(key, config.sampling.group_size, limit_at(stage.method, step, stage.sampler.texts.windows))
    pieces, table, graded = generate_and_grade(stage.sampler, weights, problems, draws, stage.submit, clock.phase)
    texts, kinds, read = stage.sampler.texts, [p.kind for p in problems], row.pieces(stage.method)
    with clock.phase("grade"):
        if reads_block(read, "feedback"):
            said = feedback.of_groups(kinds, graded.verdicts, table.rollouts.finished_PG.tolist())
            pieces = replace(pieces, feedback=feedback_ids(said, texts.tokenizer, texts.windows))
        if reads_block(read, "wrong_answer"):
            wrong = feedback.wrong_answers(kinds, graded.verdicts)
            pieces = replace(pieces, wrong_answer=wrong_answer_ids(wrong, texts.tokenizer, texts.windows))
    steps = table.used_steps, table.slot_steps
    return Batch(step, problems, pieces, table.rollouts, graded, len(problems), steps)


def limit_at(method: Method, step: int, windows: Windows) -> int:
    """The longest response that a step samples, whatever its problem allows."""
    window = max(windows.response.values())
    if not method.horizon_stops:
        return window
    return min(window, advantages.reach(window, step - 1, method.horizon, method.horizon_every))


def patient_gather(step: int) -> Gather:
    """`gather_json` once all processes are there: collectives time out on a process that samples for long."""
    uses = count()

    def gather(value: Any) -> list[Any]:
        multihost.gather(f"draws/{step}/{next(uses)}", True)
        return gather_json(value)

    return gather


def until_enough(draws: Iterable[Batch], gather: Gather) -> list[Batch]:
    """Draws until the groups of unequal rewards of all processes together fill a step; as many on every process."""
    drawn: list[Batch] = []
    for batch in draws:
        drawn.append(batch)
        counts = gather([sum(int(_unequal(one).sum()) for one in drawn), len(batch.problems)])
        if sum(found for found, _ in counts) >= sum(wanted for _, wanted in counts):
            break
    return drawn


def fill(drawn: Sequence[Batch], gather: Gather, process: int) -> Batch:
    """This process's share of one batch made from all draws of all processes.

    Groups of unequal rewards in the order they were drawn, then others if there is room: those that one process with
    all questions would take, in its order. A group that another process drew comes from there, without its tests.
    """
    share, flags = len(drawn[0].problems), gather([_unequal(batch).tolist() for batch in drawn])
    unequal_AKP = np.moveaxis(np.array(flags), 1, 0)  # attempts, processes, problems: the order they were drawn in
    places = np.argwhere(np.ones_like(unequal_AKP))
    first = np.sort(np.argsort(~unequal_AKP.reshape(-1), kind="stable")[: unequal_AKP[0].size])
    taken = [tuple(map(int, places[row])) for row in first]
    moved = [place for i, place in enumerate(taken) if place[1] != i // share]
    given = gather([_packed(_group(drawn[a], p)) for a, k, p in moved if k == process])
    sent = [iter(groups) for groups in given]
    arrived = {place: next(sent[place[1]]) for place in moved}
    mine = taken[process * share : (process + 1) * share]
    groups = [_group(drawn[a], p) if k == process else _unpacked(arrived[a, k, p], drawn[0]) for a, k, p in mine]
    used, slots = map(sum, zip(*(batch.slot_steps for batch in drawn), strict=True))
    return replace(_joined(groups), drawn=sum(batch.drawn for batch in drawn), slot_steps=(used, slots))


def _group(batch: Batch, row: int) -> Batch:
    """One group of a batch."""
    one = slice(row, row + 1)
    pieces, rollouts = jax.tree.map(lambda x: np.asarray(x)[one], (batch.pieces, batch.rollouts))
    graded = batch.graded
    graded = GradedBatch(graded.rewards_PG[one], graded.verdicts[one], graded.texts[one])
    return Batch(batch.step, batch.problems[one], pieces, rollouts, graded, 1)


def _joined(groups: Sequence[Batch]) -> Batch:
    """The groups side by side."""

    def listed(lists: Sequence[Sequence[Any]]) -> list[Any]:
        return [item for part in lists for item in part]

    pieces, rollouts, rewards_PG = jax.tree.map(
        lambda *leaves: np.concatenate(leaves), *((g.pieces, g.rollouts, g.graded.rewards_PG) for g in groups)
    )
    verdicts, texts = listed([g.graded.verdicts for g in groups]), listed([g.graded.texts for g in groups])
    problems = listed([g.problems for g in groups])
    return Batch(groups[0].step, problems, pieces, rollouts, GradedBatch(rewards_PG, verdicts, texts), len(groups))


def _packed(group: Batch) -> dict[str, Any]:
    """A group as JSON; numbers come back exactly. It has been graded, so the tests, which may be long, stay behind."""
    return {
        "problem": asdict(replace(group.problems[0], visible=(), hidden=())),
        "arrays": [x.tolist() for x in jax.tree.leaves((group.pieces, group.rollouts, group.graded.rewards_PG))],
        "verdicts": [asdict(verdict) for verdict in group.graded.verdicts[0]],
        "texts": group.graded.texts[0],
    }


def _unpacked(packed: Mapping[str, Any], like: Batch) -> Batch:
    """The group of `_packed`, its arrays of the shapes and dtypes of those of a batch."""
    leaves, form = jax.tree.flatten((like.pieces, like.rollouts, like.graded.rewards_PG))
    leaves = [np.asarray(leaf) for leaf in leaves]
    # lists without elements do not tell their shape
    arrays = [np.array(x, y.dtype).reshape(1, *y.shape[1:]) for x, y in zip(packed["arrays"], leaves, strict=True)]
    pieces, rollouts, rewards_PG = jax.tree.unflatten(form, arrays)
    verdicts = [Verdict(**verdict) for verdict in packed["verdicts"]]
    problem = Problem(**packed["problem"])
    problem = replace(problem, visible=(), hidden=(), names=tuple(problem.names))
    return Batch(like.step, [problem], pieces, rollouts, GradedBatch(rewards_PG, [verdicts], [packed["texts"]]), 1)


def _unequal(batch: Batch) -> np.ndarray:
    rewards_PG = batch.graded.rewards_PG
    return (rewards_PG != rewards_PG[:, :1]).any(axis=1)

"""kill -9 in every phase of a run, each time resumed: the run that nobody killed, to the bit.

So also for a run with packed rows that is killed once it has met several sizes of them.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hsd_jax.runtime import checkpoint
from tests.support.same_run import assert_same
from tests.support.train_process import TINY, Run, finish, kill, lines, reach, start

STEPS = 6
LOOP = ("sample", "grade", "update", "log", "evaluate", "save")
# (step, phase) in the order of the run, so that every one is reached by a run that resumes before it
POINTS = [(0, "start"), (0, "evaluate"), (2, "update"), (2, "save")]
POINTS += [(4, phase) for phase in LOOP]
POINTS += [(STEPS, "save"), (STEPS, "report")]
# Short blocks and one question a step, so that a few steps differ much in length; every checkpoint is kept.
PACKED = [
    *(*TINY, "--data.problems-per-step", "1", "--sampling.response-tokens", "64", "--method.beta", "0"),
    *("--optimizer.layout", "packed", "--optimizer.attention-block", "16", "--optimizer.loss-chunk", "64"),
    *("--evaluation.every", "0", "--checkpoints.every", "1", "--checkpoints.keep", "100"),
]
# Seconds into a phase at which it is killed at the latest; of the others a part, lest the phase be over (see below).
LONGEST = {"start": 0.5, "grade": 0.02, "save": 0.1, "report": 0.1}


@pytest.fixture(scope="module")
def whole(variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nobody kills."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    finish(start(variables, workdir, *TINY, "--steps", str(STEPS)))
    return workdir


def shortest_phases(workdir: Path) -> dict[str, float]:
    """Half of the least seconds that a run whose programs are compiled has spent in each phase.

    A kill that comes after its phase may come after the next checkpoint too, and the next point would never be reached.
    """
    warm = lines(workdir)[2:]
    spent = {phase: [line[f"time/{phase}"] for line in warm if f"time/{phase}" in line] for phase in LOOP}
    return {phase: min(seconds) / 2 for phase, seconds in spent.items() if phase not in LONGEST}


def wait_for_a_write(run: Run) -> bool:
    """Whether a checkpoint was seen half written."""
    while run.process.is_alive() and not (found := checkpoint.incomplete(run.workdir / "checkpoints")):
        if run.phases.poll():  # the next phase: it was written too fast to be seen
            break
        time.sleep(0.001)
    return bool(found)


def test_a_run_killed_in_every_phase_is_the_run_that_nobody_killed(
    whole: Path, variables: dict[str, str], tmp_path: Path
) -> None:
    assert {"start", "report", *LOOP} == {phase for _, phase in POINTS}
    workdir, random = tmp_path / "run", np.random.default_rng(11)
    longest = LONGEST | shortest_phases(whole)
    half_written = 0
    for step, phase in POINTS:
        run = start(variables, workdir, *TINY, "--steps", str(STEPS), "--resume", "auto")
        reach(run, step, phase)
        if phase == "save":
            wait_for_a_write(run)
        time.sleep(random.uniform(0, longest[phase]))
        kill(run)
        half_written += bool(checkpoint.incomplete(workdir / "checkpoints"))
    said = finish(start(variables, workdir, *TINY, "--steps", str(STEPS), "--resume", "auto"))
    assert half_written, "no kill left a checkpoint half written"
    assert f"continuing after step {STEPS}" in said
    assert_same(workdir, whole)
    assert any(line["coverage"] for line in lines(whole)[1:]), "no rollout had a peer"


def test_a_packed_run_killed_after_it_met_several_sizes_of_rows_is_the_run_that_nobody_killed(
    variables: dict[str, str], tmp_path: Path
) -> None:
    """What was met before decides which rows later steps are laid out in, so a continued run must know it."""
    whole, workdir = tmp_path / "whole", tmp_path / "run"
    common = [*PACKED, "--steps", str(STEPS)]
    finish(start(variables, whole, *common))
    second = next(step for step in range(1, STEPS + 1) if len(compiled_sizes(whole, step)) > 1)
    run = start(variables, workdir, *common)
    reach(run, second + 2, "update")  # the checkpoint of `second` is whole: that of the step after it was begun
    kill(run)
    newest = checkpoint.latest_valid_step(workdir / "checkpoints")
    assert newest is not None and second <= newest < STEPS
    finish(start(variables, workdir, *common, "--resume", "auto"))
    assert_same(workdir, whole)
    assert compiled_sizes(workdir, STEPS) == compiled_sizes(whole, STEPS)


def compiled_sizes(workdir: Path, step: int) -> Any:
    """The sizes of packed rows that a checkpoint remembers."""
    return checkpoint.restore_meta(workdir / "checkpoints", step)["row_sizes"]

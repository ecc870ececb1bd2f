"""Scores of a run that is stopped and continued: each belongs to its step, and none is lost."""

import json
from pathlib import Path
from typing import Any

import jax
import pytest
from etils import epath

from hsd_jax.config import Checkpoints, Config, Evaluation
from hsd_jax.monitoring import writers
from hsd_jax.run.checkpointing import Checkpointing
from hsd_jax.run.run_log import RunLog, past_lines
from hsd_jax.run.session import catch_up
from hsd_jax.runtime import checkpoint
from hsd_jax.runtime.timing import Clock, Compilations

STEPS, KEYS = 4, ("eval/pass@1", "eval/greedy")
Scores = dict[str, float]


def scores(params: Any, step: int) -> Scores:
    """Better with every step, so that the newest that was scored is the best."""
    return dict.fromkeys(KEYS, step / 10)


def opened(path: Path, every: int, scores: Any) -> tuple[RunLog, Checkpointing]:
    config = Config(steps=STEPS, evaluation=Evaluation(every=every), checkpoints=Checkpoints(every=1, keep=1))
    root, clock = epath.Path(path), Clock()
    (root / "config.json").write_text("{}")
    sinks, store = [writers.jsonl_sink(root / "metrics.jsonl")], checkpoint.open_store(root / "checkpoints", keep=1)
    log = RunLog(config, root, sinks, lambda step, metrics: None, scores, clock, Compilations(clock), past_lines(root))
    return log, Checkpointing(config, root, store, {}, list, clock)


def go_on(path: Path, until: int, *, stopped: bool = True, every: int = 2, scores: Any = scores) -> None:
    """Opens or continues a run up to a step, as `train` and `open_run` do; a stop leaves out that step's evaluation."""
    start = checkpoint.latest_valid_step(path / "checkpoints")
    log, checkpoints = opened(path, every, scores)
    if start is not None:
        catch_up(log, checkpoints, {}, start)
    for step in range((start or 0) + 1, until + 1):
        if log.evaluation_is_due(step) and not (stopped and step == until):
            log.evaluate({}, step)
        log.end_step(step)
        checkpoints.write_manifests()
        checkpoints.save({"step": jax.numpy.int32(step)}, step, log.score(step))  # type: ignore[arg-type]
    checkpoints.close()


def written(path: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name in ("step", *KEYS)} for line in lines]


def scored(path: Path) -> dict[int, float]:
    """What the checkpoints that are kept say of themselves."""
    found = {}
    for step in checkpoint.steps(path / "checkpoints"):
        file = path / "checkpoints" / str(step) / "metrics" / "metrics"
        found |= {step: json.loads(file.read_text())[checkpoint.BEST]} if file.exists() else {}
    return found


@pytest.mark.parametrize("stops", [(), (1,), (2,), (4,), (1, 2, 3, 4), (2, 2), (4, 4, 4)])
def test_however_often_a_run_stops_every_evaluation_that_was_due_is_there_once(
    tmp_path: Path, stops: tuple[int, ...]
) -> None:
    for stop in stops:
        go_on(tmp_path, stop)
    go_on(tmp_path, STEPS, stopped=False)
    assert written(tmp_path) == [{"step": 1}, {"step": 2, **scores({}, 2)}, {"step": 3}, {"step": 4, **scores({}, 4)}]
    found = scored(tmp_path)  # what was the best when the run stopped may still be there
    assert found[4] == 0.4 and found.items() <= {2: 0.2, 4: 0.4}.items()


def test_a_checkpoint_has_the_score_of_its_own_step_or_none(tmp_path: Path) -> None:
    go_on(tmp_path, 3, stopped=False)
    assert checkpoint.steps(tmp_path / "checkpoints") == [2, 3] and scored(tmp_path) == {2: 0.2}


def test_a_run_without_held_out_questions_owes_nothing(tmp_path: Path) -> None:
    go_on(tmp_path, 2, scores=lambda params, step: {})
    go_on(tmp_path, STEPS, stopped=False, scores=lambda params, step: {})
    assert written(tmp_path) == [{"step": step} for step in range(1, STEPS + 1)] and scored(tmp_path) == {}


def test_more_steps_do_not_ask_again_for_what_was_asked(tmp_path: Path) -> None:
    """The last step of a run is evaluated whatever `evaluation.every` says; going on finds that."""
    asked: list[int] = []

    def noted(params: Any, step: int) -> Scores:
        asked.append(step)
        return scores(params, step)

    go_on(tmp_path, STEPS, stopped=False, every=0, scores=noted)
    go_on(tmp_path, STEPS, stopped=False, every=0, scores=noted)
    assert asked == [STEPS]


def test_what_no_run_wrote_is_not_looked_at_again(tmp_path):
    odd = '{"step": 1, "eval/pass@1": "high", "coverage": [1], "skipped": {}, "entropy": 1' + "0" * 400 + "}"
    (tmp_path / "metrics.jsonl").write_text(odd + '\n{"step": 2, "coverage": 0.5}\n')
    assert past_lines(epath.Path(tmp_path)) == [{"step": 1}, {"step": 2, "coverage": 0.5}]

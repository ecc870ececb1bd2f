"""Opens a run: its directory, verifier processes, programs and state, new or restored; closes them in any case."""

import dataclasses
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
from etils import epath
from rich.console import Console
from rich.logging import RichHandler

from hsd_jax.config import Config
from hsd_jax.data import batches
from hsd_jax.errors import InputError, RunStopped
from hsd_jax.monitoring import console, writers
from hsd_jax.rollout.collect import RolloutStage
from hsd_jax.rollout.graders import check_graders, open_graders, submit_in_training
from hsd_jax.rollout.test_suites import submit_all_tests
from hsd_jax.run import held_out
from hsd_jax.run.arguments import Arguments, resume_command
from hsd_jax.run.checkpointing import Checkpointing, open_checkpoints
from hsd_jax.run.held_out import HeldOut
from hsd_jax.run.run_log import RunLog, past_lines
from hsd_jax.runtime import checkpoint, faults, multihost, paths
from hsd_jax.runtime.timing import Clock, count_compilations
from hsd_jax.runtime.workdir import Workdir, discard_after, note, open_workdir
from hsd_jax.setup import components, method_overrides
from hsd_jax.setup.components import RunComponents, RunConfig
from hsd_jax.update import frozen
from hsd_jax.update.compiled import CompiledStep, compiled_sizes, restore_compiled_sizes
from hsd_jax.update.state import TrainState
from models.qwen3 import Params

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """An opened run: its stages, its log and its checkpoints."""

    config: Config
    rollouts: RolloutStage
    step: CompiledStep
    log: RunLog
    checkpoints: Checkpointing


@contextmanager
def open_run(
    given: Arguments, parts: RunComponents, screen: Console, argv: Sequence[str]
) -> Iterator[tuple[Run, TrainState]]:
    """Yields a new or continued run and its state.

    Raises: InputError if the workdir cannot be used; nothing was written then.
    """
    config, resume, clock = parts.run.config, resume_command(argv), Clock()
    check_graders(config.verifier, programs="code" in parts.questions.identity["weights"])
    workdir = open_together(given, config)
    announce(parts.run, workdir, screen)
    with ExitStack() as stack:
        compilations = stack.enter_context(count_compilations(clock))
        rollouts, scores = open_stages(parts, workdir, stack)
        with clock.phase("start"):
            state, workdir = start(parts, workdir)
        chief = jax.process_index() == 0
        show = stack.enter_context(console.progress(screen, int(state.step), config.steps, quiet=not chief))
        store = stack.enter_context(open_checkpoints(config, workdir, resume))
        sinks, lines = _sinks(config, workdir) if chief else [], past_lines(workdir.path)
        log = RunLog(config, workdir.path, sinks, show, scores, clock, compilations, lines)
        met = partial(compiled_sizes, parts.step)
        checkpoints = Checkpointing(config, workdir.path, store, facts(parts, state), met, clock)
        if workdir.start is None:
            log.evaluate(state.policy, 0)
            log.end_step(0)
        else:
            catch_up(log, checkpoints, state.policy, workdir.start)
        yield Run(config, rollouts, parts.step, log, checkpoints), state


def catch_up(log: RunLog, checkpoints: Checkpointing, params: Params, step: int) -> None:
    """Does the evaluation that a stop after `step` left out: for its checkpoint's score and for the step's line."""
    owed = log.evaluation_is_due(step) and log.score(step) is None
    if not multihost.gather(f"owed/{step}", owed)[0]:
        return
    log.evaluate(params, step)
    if found := log.take():  # else there are no held-out questions
        checkpoints.add_score(step, found["eval/pass@1"])  # before the line, from which follows what is owed
        log.amend(step, found)


def open_stages(
    parts: RunComponents, workdir: Workdir, stack: ExitStack
) -> tuple[RolloutStage, Callable[[Params, int], dict[str, float]]]:
    """How steps and evaluations are sampled and graded; the verifier processes end with `stack`."""
    config, questions = parts.run.config, parts.questions
    graders = stack.enter_context(open_graders(config.verifier, programs="code" in questions.identity["weights"]))
    if jax.process_index() == 0:
        note(workdir.path, sandbox=graders.tier)
    training = submit_in_training(graders, config.verifier)
    held_out_checks = training if config.verifier.function else submit_all_tests(graders)
    asked = HeldOut(parts.sampler, questions.held_out, config.evaluation, config.seed, held_out_checks)
    rollouts = RolloutStage(config, parts.run.method, parts.sampler, questions.steps, training)
    return rollouts, partial(held_out.scores, asked)


def start(parts: RunComponents, workdir: Workdir) -> tuple[TrainState, Workdir]:
    """`first_state` of the run, and the sizes of rows that it had met."""
    initial = partial(components.initial_state, parts.run, parts.step.settings.optimizer)
    state, workdir = first_state(initial, parts.questions.identity, workdir)
    if workdir.start is not None:
        meta = checkpoint.restore_meta(workdir.checkpoints, workdir.start)
        with checkpoint.readable(workdir.checkpoints, workdir.start):
            restore_compiled_sizes(parts.step, meta["row_sizes"])
    return state, workdir


def facts(parts: RunComponents, state: TrainState) -> dict[str, Any]:
    """What a checkpoint says of a run: its model, its questions, where its frozen weights come from."""
    source = parts.run.config.model.path
    return {
        "model": dataclasses.asdict(parts.run.model),
        "lora": dataclasses.asdict(parts.run.lora),
        "questions": dict(parts.questions.identity),
        "frozen": {name: [source, value] for name, value in frozen.hashes(state).items()},
    }


def open_together(given: Arguments, config: Config) -> Workdir:
    """Process 0 opens the run directory; the others take over what it decided."""
    if jax.process_index():
        (start, *_) = multihost.gather("workdir", None)
        return Workdir(epath.Path(given.workdir), start, None)
    workdir = open_workdir(
        given.workdir,
        config,
        resume=given.resume == "auto",
        overwrite=given.overwrite,
        allow_changes=given.resume_with_changes,
        command=[*sys.argv],
    )
    multihost.gather("workdir", workdir.start)
    return workdir


def first_state(
    initial: Callable[[], TrainState], questions: Mapping[str, Any], workdir: Workdir
) -> tuple[TrainState, Workdir]:
    """The initial state, or that of the newest checkpoint that can be read, with the workdir as of its step.

    What lies after that step is removed only once the state has been read.
    Raises: InputError if the run had other questions; RunStopped if no checkpoint can be read.
    """
    state, start = initial(), workdir.start
    if start is None:
        return state, workdir
    while start is not None:
        restored = read_state(questions, workdir, start, state)
        if not multihost.any_host(f"unreadable/{start}", restored is None):
            if start != workdir.start and jax.process_index() == 0:
                discard_after(workdir.path, start)
            return restored or state, dataclasses.replace(workdir, start=start)
        start = checkpoint.latest_valid_step(workdir.checkpoints, before=start)
    raise RunStopped(
        f"no checkpoint in {workdir.checkpoints} can be read (see the warnings); none was removed. Restore one from a"
        " copy, or start anew with --overwrite"
    )


def read_state(questions: Mapping[str, Any], workdir: Workdir, step: int, like: TrainState) -> TrainState | None:
    """The state of a checkpoint, or None, with a warning, where its files agree but cannot be read.

    Copies that never change are those of `like`, which must be what the run began with; older checkpoints hold them.
    Raises: InputError if they are not, or if the run had other questions.
    """
    hashes = frozen.hashes(like)
    try:
        meta = checkpoint.restore_meta(workdir.checkpoints, step)
        batches.check_resume(meta["questions"], questions)
        if "frozen" not in meta:
            return checkpoint.restore(workdir.checkpoints, step, like)
        frozen.check_resume(meta["frozen"], hashes)
        state = checkpoint.restore(workdir.checkpoints, step, frozen.without_frozen(like))
        return frozen.with_frozen(state, frozen.frozen_copies(like))
    except InputError:
        raise
    except Exception as error:  # whatever the library makes of a file that it cannot read
        if faults.out_of_memory(error):
            raise
        log.warning("checkpoint %d cannot be read (%s); trying the one before it", step, " ".join(str(error).split()))
        return None


def announce(run: RunConfig, workdir: Workdir, screen: Console) -> None:
    """Says what is about to run: the method's row, the model, the devices."""
    logging.basicConfig(
        level=logging.WARNING, handlers=[RichHandler(console=screen, show_path=False)], format="%(message)s"
    )
    if jax.process_index():
        return
    row = ", ".join(f"{name} {value}" for name, value in method_overrides.describe(run.method).items())
    devices = f"{jax.device_count()} x {jax.devices()[0].device_kind}"
    screen.print(f"method {run.config.method.name}: {row}", highlight=False)
    start = "" if workdir.start is None else f", continuing after step {workdir.start}"
    screen.print(f"model {run.config.model.path} on {devices}, workdir {workdir.path}{start}", highlight=False)
    if run.lora.rank:
        screen.print(
            f"adapters of rank {run.lora.rank} on {', '.join(run.lora.targets)} train, all else is frozen",
            highlight=False,
        )


def _sinks(config: Config, workdir: Workdir) -> list[writers.Sink]:
    settings = config.logging
    return writers.sinks(
        workdir.path,
        tensorboard=settings.tensorboard,
        wandb=settings.wandb,
        config=paths.as_record(config),
        start=0 if workdir.start is None else workdir.start + 1,
    )

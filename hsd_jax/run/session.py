"""Opens a run: its directory, verifier processes, programs and state, new or restored; closes them in any case."""

import dataclasses
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import jax
from etils import epath
from rich.console import Console
from rich.logging import RichHandler

from hsd_jax.config import Config
from hsd_jax.data import batches
from hsd_jax.errors import InputError, RunStopped
from hsd_jax.monitoring import console, writers
from hsd_jax.rollout.grading import submit_to
from hsd_jax.rollout.test_suites import submit_all_tests
from hsd_jax.run import held_out
from hsd_jax.run.arguments import Arguments, resume_command
from hsd_jax.run.programs import Programs, build, compiled_sizes, restore_compiled_sizes
from hsd_jax.run.run_log import RunLog, past_lines
from hsd_jax.runtime import checkpoint, faults, multihost, paths
from hsd_jax.runtime.timing import Clock, count_compilations
from hsd_jax.runtime.workdir import Workdir, discard_after, note, open_workdir
from hsd_jax.setup import components, method_overrides
from hsd_jax.setup.components import RunComponents
from hsd_jax.update import frozen
from hsd_jax.update.state import TrainState
from hsd_jax.verifiers import cases, comparison, pool
from hsd_jax.verifiers.sandbox import tiers

log = logging.getLogger(__name__)


@contextmanager
def open_run(
    given: Arguments, parts: RunComponents, screen: Console, argv: Sequence[str]
) -> Iterator[tuple[Programs, RunLog, TrainState]]:
    """Yields (programs, journal, state) of a new or continued run.

    Raises: InputError if the workdir cannot be used; nothing was written then.
    """
    config = parts.config
    workdir = open_together(given, config)
    announce(parts, workdir, screen)
    clock = Clock()
    with ExitStack() as stack:
        compilations = stack.enter_context(count_compilations(clock))
        graders = stack.enter_context(open_graders(parts))
        if jax.process_index() == 0:
            note(workdir.path, sandbox=graders.tier)
        submit = submit_to(graders, lambda problem: cases.visible(problem.visible))
        programs = build(parts, submit, submit_all_tests(graders))
        with clock.phase("start"):
            state, workdir = first_state(parts, workdir)
            if workdir.start is not None:
                restore_compiled_sizes(
                    parts, programs, checkpoint.restore_meta(workdir.checkpoints, workdir.start)["row_sizes"]
                )
        chief = jax.process_index() == 0
        show = stack.enter_context(console.progress(screen, int(state.step), config.steps, quiet=not chief))
        book = RunLog(
            parts=parts,
            path=workdir.path,
            store=stack.enter_context(open_checkpoints(config, workdir, resume_command(argv))),
            sinks=_sinks(parts, workdir) if chief else [],
            show=show,
            console=screen,
            scores=lambda params, step: held_out.scores(parts, programs, params, step),
            row_sizes=lambda: compiled_sizes(programs),
            resume_command=resume_command(argv),
            frozen={name: [config.model.path, value] for name, value in frozen.hashes(state).items()},
            clock=clock,
            compilations=compilations,
            lines=past_lines(workdir.path),
        )
        if workdir.start is None:
            book.evaluate(state.params, 0)
            book.end_step(0)
        else:
            book.catch_up(state.params, workdir.start)
        yield programs, book, state


@contextmanager
def open_checkpoints(config: Config, workdir: Workdir, resume: str) -> Iterator[checkpoint.Store]:
    """The run's checkpoints: a write that fails ends the run, a run that fails ends its write."""
    kept = config.checkpoints
    store = checkpoint.open_store(workdir.checkpoints, keep=kept.keep, keep_every=kept.keep_every, resume=resume)
    with checkpoint.watched(store, multihost.leave), checkpoint.finishing(store):
        yield store


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


def open_graders(parts: RunComponents) -> pool.Pool:
    """The verifier processes; the sandbox is probed only where programs will be graded.

    Raises: InputError if programs would have to run without isolation.
    """
    settings = parts.config.verifier
    limits = dataclasses.replace(
        tiers.DEFAULT_LIMITS, seconds=settings.test_seconds, check_seconds=settings.check_seconds
    )
    try:
        return pool.start(
            workers=settings.workers,
            programs="code" in parts.questions.identity["weights"],
            math_limit_seconds=settings.seconds,
            limits=limits,
            tolerance=comparison.JSON_VALUES._replace(relative=settings.tolerance),
            allow_unsandboxed=settings.allow_unsandboxed,
        )
    except tiers.NoSandbox as error:
        raise InputError(str(error)) from error


def first_state(parts: RunComponents, workdir: Workdir) -> tuple[TrainState, Workdir]:
    """The initial state, or that of the newest checkpoint that can be read, with the workdir as of its step.

    What lies after that step is removed only once the state has been read.
    Raises: InputError if the run had other questions; RunStopped if no checkpoint can be read.
    """
    state, start = components.initial_state(parts), workdir.start
    if start is None:
        return state, workdir
    while start is not None:
        restored = read_state(parts, workdir, start, state)
        if not multihost.any_host(f"unreadable/{start}", restored is None):
            if start != workdir.start and jax.process_index() == 0:
                discard_after(workdir.path, start)
            return restored or state, dataclasses.replace(workdir, start=start)
        start = checkpoint.latest_valid_step(workdir.checkpoints, before=start)
    raise RunStopped(
        f"no checkpoint in {workdir.checkpoints} can be read (see the warnings); none was removed. Restore one from a"
        " copy, or start anew with --overwrite"
    )


def read_state(parts: RunComponents, workdir: Workdir, step: int, like: TrainState) -> TrainState | None:
    """The state of a checkpoint, or None, with a warning, where its files agree but cannot be read.

    Copies that never change are those of `like`, which must be what the run began with; older checkpoints hold them.
    Raises: InputError if they are not, or if the run had other questions.
    """
    hashes = frozen.hashes(like)
    try:
        meta = checkpoint.restore_meta(workdir.checkpoints, step)
        batches.check_resume(meta["questions"], parts.questions.identity)
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


def announce(parts: RunComponents, workdir: Workdir, screen: Console) -> None:
    """Says what is about to run: the method's row, the model, the devices."""
    logging.basicConfig(
        level=logging.WARNING, handlers=[RichHandler(console=screen, show_path=False)], format="%(message)s"
    )
    if jax.process_index():
        return
    row = ", ".join(f"{name} {value}" for name, value in method_overrides.describe(parts.method).items())
    devices = f"{jax.device_count()} x {jax.devices()[0].device_kind}"
    screen.print(f"method {parts.config.method.name}: {row}", highlight=False)
    start = "" if workdir.start is None else f", continuing after step {workdir.start}"
    screen.print(f"model {parts.config.model.path} on {devices}, workdir {workdir.path}{start}", highlight=False)


def _sinks(parts: RunComponents, workdir: Workdir) -> list[writers.Sink]:
    settings = parts.config.logging
    return writers.sinks(
        workdir.path,
        tensorboard=settings.tensorboard,
        wandb=settings.wandb,
        config=paths.as_record(parts.config),
        start=0 if workdir.start is None else workdir.start + 1,
    )

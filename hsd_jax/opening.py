"""Opens a run: its directory, verifier processes, programs and state, new or restored; closes them in any case."""

import dataclasses
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import jax
from rich.console import Console
from rich.logging import RichHandler

from hsd_jax import checkpoint, console, held_out, method_options, metrics, setup
from hsd_jax.arguments import Arguments, resume_command
from hsd_jax.clock import Clock, count_compilations
from hsd_jax.data import stream
from hsd_jax.grading import submit_to
from hsd_jax.journal import Journal, past_lines
from hsd_jax.programs import Programs, build
from hsd_jax.setup import Parts
from hsd_jax.update import TrainState
from hsd_jax.verifiers import pool
from hsd_jax.workdir import Workdir, open_workdir

log = logging.getLogger(__name__)


@contextmanager
def open_run(
    given: Arguments, parts: Parts, screen: Console, argv: Sequence[str]
) -> Iterator[tuple[Programs, Journal, TrainState]]:
    """Yields (programs, journal, state) of a new or continued run.

    Raises: InputError if the workdir cannot be used; nothing was written then.
    """
    config = parts.config
    workdir = open_workdir(
        given.workdir,
        config,
        resume=given.resume == "auto",
        overwrite=given.overwrite,
        allow_changes=given.resume_with_changes,
        command=[*sys.argv],
    )
    announce(parts, workdir, screen)
    with ExitStack() as stack:
        graders = stack.enter_context(
            pool.start(workers=config.verifier.workers, math_limit_seconds=config.verifier.seconds)
        )
        programs = build(parts, submit_to(graders, lambda problem: problem.visible))
        state = first_state(parts, workdir)
        chief = jax.process_index() == 0
        show = stack.enter_context(console.progress(screen, int(state.step), config.steps, quiet=not chief))
        book = Journal(
            parts=parts,
            path=workdir.path,
            store=checkpoint.open_store(
                workdir.checkpoints, keep=config.checkpoints.keep, keep_every=config.checkpoints.keep_every
            ),
            sinks=_sinks(parts, workdir) if chief else [],
            show=show,
            console=screen,
            scores=lambda params, step: held_out.scores(parts, programs, params, step),
            resume_command=resume_command(argv),
            clock=Clock(),
            compilations=stack.enter_context(count_compilations()),
            lines=past_lines(workdir.path),
        )
        if workdir.start is None:
            book.evaluate(state.params, 0)
            book.close_step(0)
        yield programs, book, state


def first_state(parts: Parts, workdir: Workdir) -> TrainState:
    """The initial state, or that of the checkpoint to continue from."""
    state = setup.initial_state(parts)
    if workdir.start is None:
        return state
    meta = checkpoint.restore_meta(workdir.checkpoints, workdir.start)
    stream.check_resume(meta["questions"], parts.questions.identity)
    return checkpoint.restore(workdir.checkpoints, workdir.start, state)


def announce(parts: Parts, workdir: Workdir, screen: Console) -> None:
    """Says what is about to run: the method's row, the model, the devices."""
    logging.basicConfig(
        level=logging.WARNING, handlers=[RichHandler(console=screen, show_path=False)], format="%(message)s"
    )
    if jax.process_index():
        return
    row = ", ".join(f"{name} {value}" for name, value in method_options.describe(parts.method).items())
    devices = f"{jax.device_count()} x {jax.devices()[0].device_kind}"
    screen.print(f"method {parts.config.method.name}: {row}", highlight=False)
    start = "" if workdir.start is None else f", continuing after step {workdir.start}"
    screen.print(f"model {parts.config.model.path} on {devices}, workdir {workdir.path}{start}", highlight=False)


def _sinks(parts: Parts, workdir: Workdir) -> list[metrics.Sink]:
    settings = parts.config.logging
    return metrics.sinks(
        workdir.path,
        tensorboard=settings.tensorboard,
        wandb=settings.wandb,
        config=dataclasses.asdict(parts.config),
    )

"""What one program of a run needs on a slice, found by compiling it, in a process of its own: compilers may crash."""

import os
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing import connection, get_context, parent_process
from threading import Thread
from typing import IO, Any

import jax

from hsd_jax.planning import aot, hlo
from hsd_jax.planning.chips import GIB
from hsd_jax.planning.measured import NAMES, Measured, Stage

BUFFERS_SHOWN = 5
AT_A_TIME = 3  # compilers, each on one core with up to 4 GiB
CRASHED = "the compiler ended without an answer: it crashed, or this machine has too little memory"
CHECK_FAILED = "the compiler ended on a check of its own, so other settings or another release may pass: {check}"


StageOf = Callable[[str], Stage]


def measure_all(
    stage_of: StageOf, names: tuple[str, ...] = NAMES, tell: Callable[[Measured], None] = lambda measured: None
) -> list[Measured]:
    """Every program, a few at a time; one that crashes the compiler is reported as such and the others go on.

    `stage_of` makes a program by its name, in the process that compiles it, so it must be possible to pickle.
    `tell` hears of each as it is ready. However this ends, by an interrupt too, no compiler is left running.
    """
    # the last program of a step, the update, takes longest by far, so it begins first
    waiting, running, found = list(reversed(names)), {}, {}
    try:
        while waiting or running:
            while waiting and len(running) < min(len(os.sched_getaffinity(0)), AT_A_TIME):
                name = waiting.pop(0)
                running[name] = _start(stage_of, name)
            ready = connection.wait([started.answer for started in running.values()])
            for name in [name for name, started in running.items() if started.answer in ready]:
                found[name] = _result(running.pop(name), name)
                tell(found[name])
    finally:
        for started in running.values():
            started.process.kill()
    return [found[name] for name in names]


@dataclass(frozen=True)
class Started:
    """A process that measures one program, where its answer will come from, and the file of its compiler's words."""

    answer: Any
    process: Any
    words: IO[bytes]
    at: float


def _start(stage_of: StageOf, name: str) -> Started:
    context = get_context("spawn")
    answer, other_end = context.Pipe(duplex=False)
    words = tempfile.TemporaryFile()  # noqa: SIM115 - it has no name, so nothing is left of it however this ends
    path = f"/proc/{os.getpid()}/fd/{words.fileno()}"
    process = context.Process(target=_answer, args=(other_end, stage_of, name, path), daemon=True)
    process.start()
    other_end.close()  # so that the answer ends with the process
    return Started(answer, process, words, time.monotonic())


def _result(started: Started, name: str) -> Measured:
    """What a process found. Raises: what it raised."""
    try:
        found = started.answer.recv()
    except EOFError:
        started.words.seek(0)
        check = aot.failed_check(started.words.read().decode(errors="replace"))
        fault = CHECK_FAILED.format(check=check) if check else CRASHED
        found = Measured(name, 0, 0, {}, fault=fault, seconds=time.monotonic() - started.at)
    started.process.join()
    started.words.close()
    if isinstance(found, Exception):
        raise found
    return found


def _answer(to: Any, stage_of: StageOf, name: str, words: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process
    Thread(target=_end_with_parent, daemon=True).start()
    try:
        to.send(measure(stage_of, name, words))
    except jax.errors.JaxRuntimeError as error:
        to.send(Measured(name, 0, 0, {}, fault=f"the compiler refuses the program: {aot.first_line(error)}"))
    except Exception as error:
        to.send(error)


def _end_with_parent() -> None:
    """A parent that was killed cannot end this process, which would compile on for minutes."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def measure(stage_of: StageOf, name: str, words: str = os.devnull) -> Measured:
    """Traces and compiles one program; what the compiler says on the way goes to the file `words`."""
    started = time.monotonic(), time.process_time()
    stage = stage_of(name)
    compiled = aot.compile_for_tpu(stage.lower(), words)
    memory = compiled.memory
    value = stage.largest()
    made = f"{value.primitive} {list(value.shape)}: {value.size_bytes / GIB:.2f} GiB over all chips, before fusion"
    found = Measured(
        stage=name,
        program=compiled.needed,
        total=compiled.needed + sum(stage.resident.values()),
        resident=stage.resident,
        cache=stage.cache,
        memory={} if memory is None else vars(memory),
        out_of_memory=memory is None,
        flops=stage.flops(),
        cycles=hlo.cycles(compiled.text),
        accessed=compiled.bytes_accessed,
        collectives=hlo.collectives(compiled.text),
        buffers=[*hlo.largest_buffers(compiled.text, BUFFERS_SHOWN), made],
    )
    return replace(found, seconds=time.monotonic() - started[0], cpu_seconds=time.process_time() - started[1])

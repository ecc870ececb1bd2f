"""Hindsight Self-Distillation, and the methods it is compared with.

python -m hsd_jax.train --config configs/tiny.py --workdir runs/tiny [--sampling.temperature 0.7 ...]

For every step:
  1. sample  G rollouts o_1..o_G ~ pi(.|q) of each question
  2. grade   R_i in {0, 1} by the verifier, while the sampler still works
  3. update  in one program on the device: peers j ~ U{j != i : R_j = 1}, contexts c_i = (a*, o_j) or a*,
             mean_i mean_t KL(sg pi(.|q, c_i, o_i,<t) || pi(.|q, o_i,<t)) + beta KL(pi || pi_0), AdamW

Source: arXiv:2606.15576.
"""

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial

import jax
from rich.console import Console

from hsd_jax.errors import EXIT_DONE, EXIT_PREEMPTED
from hsd_jax.methods.row import Method, peer_of
from hsd_jax.monitoring import console
from hsd_jax.monitoring.console import Summary
from hsd_jax.planning import chips, pace
from hsd_jax.reporting import write
from hsd_jax.rollout.collect import sample_and_grade, weights_for_sampling
from hsd_jax.run import arguments, notices
from hsd_jax.run.run_log import RunLog
from hsd_jax.run.session import Run, open_run
from hsd_jax.runtime import cli, faults, host, multihost, random_keys, timing
from hsd_jax.runtime.compile_cache import enable_compilation_cache
from hsd_jax.runtime.signals import Stop, watch
from hsd_jax.runtime.workdir import same_start
from hsd_jax.sampler.decode_sharding import refuse_unusable
from hsd_jax.setup.build import build_components
from hsd_jax.update.compiled import run_update
from hsd_jax.update.state import TrainState


def train(run: Run, state: TrainState, stop: Stop) -> str:
    """Takes the steps after `state.step`; once anybody asks to stop, the step in progress is finished and saved.

    A preemption does not wait for a step that is still being sampled: that one is dropped, on all hosts.
    Returns how it was asked to stop, the same in all processes; "" where everything that was due is done.
    """
    log, first, alone = run.log, int(state.step) + 1, jax.process_count() == 1
    traced = timing.steps_of(run.config.logging.profile_steps)
    for step in range(first, run.config.steps + 1):
        # nothing moves between host and device by accident
        guard = jax.transfer_guard("disallow" if step > first else "allow")
        with guard, timing.profiled(traced, step, log.path):
            weights = weights_for_sampling(run.rollouts, state.policy, log.clock)
            draw = partial(sample_and_grade, run.rollouts, weights, step, log.clock)
            # hosts that draw again and again wait for each other meanwhile
            batch = stop.can_drop(draw, allowed=alone or run.rollouts.method.attempts == 1)
            if multihost.any_host(f"dropped/{step}", batch is None) or batch is None:
                run.checkpoints.save_once(state, step - 1, log.score(step - 1))
                return "preemption"
            del weights, draw  # the update needs their room
            key = random_keys.key_of(run.config.seed, step, "peers")
            state, metrics, trace = run_update(run.step, state, batch.arrays, key, log.clock)
            log.record(batch, metrics, trace, run.rollouts.sampler.texts.tokenizer)
            stopping = next(filter(None, multihost.gather(f"stop/{step}", stop.asked)), "")
            if log.evaluation_is_due(step) and not stopping:
                log.evaluate(state.policy, step)
            log.end_step(step)
            run.checkpoints.write_manifests()
            if run.checkpoints.is_due(step) or stopping:
                run.checkpoints.save(state, step, log.score(step))
        if stopping:
            return stopping
    return ""


def close_run(run: Run, method: Method, screen: Console, argv: Sequence[str], stopped: str) -> None:
    """Waits for the last checkpoint and prints how the run went; `stopped`: what ended it before it was done."""
    run.checkpoints.close()
    if run.log.sinks:
        again = arguments.resume_command(argv)
        after = f"stopped by {stopped} after step {run.log.lines[-1]['step']}; continue with:\n{again}"
        print_summary(run.log, method, screen, after if stopped else "")


def print_summary(log: RunLog, method: Method, screen: Console, stopped: str) -> None:
    """How the run went; `stopped`: the command that continues it, if it was stopped before it was done."""
    log.clock.lap()
    if stopped:
        screen.print(stopped, soft_wrap=True, highlight=False)
    write.write_page(log.path)
    ends = [found for line in log.lines if (found := console.held_out(line))]
    first, last = (ends[0], ends[-1]) if ends else ({}, {})
    places = {"checkpoints": str(log.path / "checkpoints"), "report": str(log.path / "report" / "index.html")}
    screen.print(console.closing_table(Summary(first, last, log.clock.total, places)))
    screen.print(console.words_on_coverage(log.config, method, log.lines), end="", highlight=False)
    if peer_of(method):
        screen.print(write.credit_profile(log.path), highlight=False)


def handed_on(stop: Stop) -> AbstractContextManager[None]:
    """Notices of the cloud, to this host or another one, become the signal that `stop` hears."""
    return notices.watch(stop, os.environ, *multihost.key_value_store())


def main(argv: Sequence[str]) -> int:
    """The command: refuse what is wrong before anything compiles, train, say how it went."""
    given = arguments.parse(argv, about=__doc__ or "")
    chips.set_flags(os.environ, chips.chip_of(notices.accelerator(os.environ)))
    host.tune_malloc()
    place = multihost.from_environment(os.environ)
    enable_compilation_cache(*(place.process, place.processes) if place else ())
    with multihost.distributed_session(place), watch() as stop, handed_on(stop):
        same_start(given.workdir, given.settings)
        parts = build_components(given.settings)
        if parts.sampler.program.mesh is not None:
            refuse_unusable(parts.sampler.program.mesh)
        screen = cli.console()
        with open_run(given, parts, screen, argv) as (run, state):
            run.log.pace = pace.pace(parts.run, jax.devices())
            stopped = train(run, state, stop)
            close_run(run, parts.run.method, screen, argv, stopped)
    return EXIT_PREEMPTED if stopped else EXIT_DONE


if __name__ == "__main__":
    cli.run(main, leave=faults.hard_exit)

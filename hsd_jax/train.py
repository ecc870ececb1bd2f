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

import jax

from hsd_jax.errors import EXIT_DONE, EXIT_PREEMPTED
from hsd_jax.planning import pace
from hsd_jax.rollout.collect import sample_and_grade
from hsd_jax.run import arguments
from hsd_jax.run.session import Run, close_run, open_run
from hsd_jax.runtime import cli, multihost, random_keys
from hsd_jax.runtime.compile_cache import enable_compilation_cache
from hsd_jax.runtime.malloc import tune_malloc
from hsd_jax.runtime.signals import Stop, watch
from hsd_jax.runtime.workdir import same_start
from hsd_jax.setup import components
from hsd_jax.update.compiled import run_update
from hsd_jax.update.state import TrainState


def train(run: Run, state: TrainState, stop: Stop) -> str:
    """Takes the steps after `state.step`; once anybody asks to stop, the step in progress is finished and saved.

    Returns how it was asked to stop, the same in all processes; "" where everything that was due is done.
    """
    log, first = run.log, int(state.step) + 1
    for step in range(first, run.config.steps + 1):
        # nothing moves between host and device by accident
        with jax.transfer_guard("disallow" if step > first else "allow"):
            batch = sample_and_grade(run.rollouts, state.params, step, log.clock)
            key = random_keys.key_of(run.config.seed, step, "peers")
            state, metrics, trace = run_update(run.step, state, batch.arrays, key, log.clock)
            log.record(batch, metrics, trace, run.rollouts.sampler.texts.tokenizer)
            stopping = next(filter(None, multihost.gather(f"stop/{step}", stop.asked)), "")
            if log.evaluation_is_due(step) and not stopping:
                log.evaluate(state.params, step)
            log.end_step(step)
            run.checkpoints.write_manifests()
            if run.checkpoints.is_due(step) or stopping:
                run.checkpoints.save(state, step, log.score(step))
        if stopping:
            return stopping
    return ""


def main(argv: Sequence[str]) -> int:
    """The command: refuse what is wrong before anything compiles, train, say how it went."""
    given = arguments.parse(argv, about=__doc__ or "")
    tune_malloc()
    place = multihost.from_environment(os.environ)
    enable_compilation_cache(*(place.process, place.processes) if place else ())
    with multihost.distributed_session(place), watch() as stop:
        same_start(given.workdir, given.settings)
        parts = components.build_components(given.settings)
        screen = cli.console()
        with open_run(given, parts, screen, argv) as (run, state):
            run.log.pace = pace.pace(parts.run, jax.devices())
            stopped = train(run, state, stop)
            close_run(run, parts.run.method, screen, argv, stopped)
    return EXIT_PREEMPTED if stopped else EXIT_DONE


if __name__ == "__main__":
    cli.run(main, leave=cli.hard_exit)

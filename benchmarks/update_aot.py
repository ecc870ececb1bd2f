"""The update of Qwen3-8B and 32B compiled for TPU slices on this machine: bytes on a chip, operations, collectives.

    python -m benchmarks.update_aot [--case sequence 32b-v6e 32b-v5p]      minutes a case; needs libtpu, no TPU

`sequence`: 8B on v5e:8x8 with one sequence of 4,608 tokens on every chip (512 of context, 4,096 of response), teacher
and reference passes included. The 32B cases are 128 questions x 8 rollouts with a mean of 1,536 tokens.
"""

import argparse
import dataclasses
from pathlib import Path

from hsd_jax.config import Config, load
from hsd_jax.planning import aot, hlo
from hsd_jax.planning.chips import GIB, Topology, parse_topology
from hsd_jax.planning.measured import MARGIN_GIB
from hsd_jax.planning.stages import components_for, update_stage
from hsd_jax.planning.workload import Workload, workload
from hsd_jax.setup.method_overrides import resolve

CONFIGS = Path(__file__).parents[1] / "configs"


def sequence() -> tuple[Config, Topology, Workload, float]:
    """One sequence a chip; the bound is what leaves a v5e room for everything else that a step needs."""
    config = load(CONFIGS / "hsd_qwen3_8b_v5e64.py")
    config = dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, remat="full"),
        data=dataclasses.replace(config.data, problems_per_step=64),
        sampling=dataclasses.replace(config.sampling, group_size=1, response_tokens=4096, code_response_tokens=0),
        method=dataclasses.replace(config.method, name="opsd"),
        optimizer=dataclasses.replace(config.optimizer, micro_batches=1),
    )
    work = dataclasses.replace(workload(config, resolve(config.method), mean=10**6, prompt=400), spread=1e-6)
    return config, parse_topology("v5e:8x8"), work, 9.0


def of_32b(name: str, topology: str) -> tuple[Config, Topology, Workload, float]:
    """A shipped config on a slice, bounded by the chip."""
    config, slice_ = load(CONFIGS / f"{name}.py"), parse_topology(topology)
    return (
        config,
        slice_,
        workload(config, resolve(config.method), mean=1536, prompt=256),
        slice_.chip.usable_gib - MARGIN_GIB,
    )


CASES = {
    "sequence": sequence,
    "32b-v6e": lambda: of_32b("hsd_qwen3_32b_v6e64", "v6e:8x8"),
    "32b-v5p": lambda: of_32b("hsd_qwen3_32b_v5p128", "v5p:4x4x4"),
}


def main() -> int:
    """Compiles the cases one after the other; exit code 1 if one is over its bound."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--case", nargs="+", choices=[*CASES], default=[*CASES])
    over = 0
    for name in parser.parse_args().case:
        config, topology, work, bound = CASES[name]()
        stage = update_stage(components_for(topology, config), work)
        compiled = aot.compile_for_tpu(stage.lower())
        memory = compiled.memory
        if memory is None:
            print(
                f"{name}: {topology.name} needs {compiled.needed / GIB:.2f} GiB a chip, more than there are", flush=True
            )
            over += 1
            continue
        total = (memory.arguments + memory.temporary) / GIB
        moved = {kind: f"{found['count']:.0f}" for kind, found in hlo.collectives(compiled.text).items()}
        print(
            f"{name}: {topology.name}, arguments {memory.arguments / GIB:.2f} + temporary"
            f" {memory.temporary / GIB:.2f} = {total:.2f} GiB of {bound:.2f}, {memory.host / GIB:.2f} in host memory;"
            f" {stage.flops() / 1e12:.1f} TFLOP a chip; {moved}; compiled in {compiled.seconds:.0f} s",
            flush=True,
        )
        over += total > bound
    return int(over > 0)


if __name__ == "__main__":
    raise SystemExit(main())

"""The outcome of planning one config for one slice: what every program needs, how long a step takes, the verdict."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from hsd_jax import method_options, methods
from hsd_jax.config import Config
from hsd_jax.planning import roofline
from hsd_jax.planning.advice import advice
from hsd_jax.planning.chips import CHIPS_PER_HOST, GIB, Topology
from hsd_jax.planning.measure import Measured, fits
from hsd_jax.planning.roofline import Phase, Workload
from hsd_jax.planning.shapes import model_of

STATE_BYTES_PER_PARAMETER = 12
MEAN_SHARE = 3 / 8  # of the cap: the mean response where none is given


@dataclass(frozen=True)
class Plan:
    """One config on one slice. `advice` maps a program that does not fit to what to change, most useful first."""

    config: str
    topology: Topology
    measured: list[Measured]
    phases: list[Phase]
    assumptions: list[str]
    advice: dict[str, list[str]]
    checkpoint_bytes: int
    host_bytes: int

    @property
    def fits(self) -> bool:
        """Whether every program runs on the chips, and what is offloaded in the hosts' memory."""
        return all(fits(m, self.topology) for m in self.measured) and self.host_bytes <= self.host_room

    @property
    def host_room(self) -> float:
        """Bytes of a host's memory for what is offloaded: half of it, the rest is for programs, data, checkpoints."""
        return self.topology.chip.host_gib * GIB / 2

    @property
    def seconds(self) -> tuple[float, float]:
        """Ideal and expected seconds of a step."""
        return sum(p.ideal for p in self.phases), sum(p.expected for p in self.phases)


def make_plan(
    name: str, config: Config, topology: Topology, measured: list[Measured], *, mean: float, prompt: int
) -> Plan:
    """Puts the parts together; `mean` and `prompt` are assumed lengths (0: 3/8 of the cap, 1/4 of the window)."""
    model = model_of(config.model.path)
    work = workload(config, mean=mean, prompt=prompt)
    update = next((m.flops for m in measured if m.stage == "update"), 0.0)
    s = config.sampling
    share = work.rollouts * s.tensor // topology.chips
    slots = s.slots * s.tensor // CHIPS_PER_HOST if s.slots else share
    phases = roofline.step_phases(model, topology, work, tensor=s.tensor, slots=slots, update_flops=update)
    parameters = roofline.layer_params(model) + roofline.head_params(model) * (1 if model.tied else 2)
    return Plan(
        config=name,
        topology=topology,
        measured=measured,
        phases=phases,
        assumptions=roofline.assumptions(topology, work),
        advice={m.stage: advice(config, topology, m) for m in measured if not fits(m, topology)},
        checkpoint_bytes=parameters * STATE_BYTES_PER_PARAMETER,
        host_bytes=CHIPS_PER_HOST * max((m.memory.get("host", 0) for m in measured), default=0),
    )


def workload(config: Config, *, mean: float, prompt: int) -> Workload:
    """What a step's texts are assumed to be."""
    method = method_options.resolve(config.method)
    cap = config.sampling.response_tokens
    draws = 2 if method.peer_draws == "coupled" else config.sampling.group_size
    contexts = (draws if method.reads.peer else 1) if methods.has_teacher(method) else 0
    return Workload(
        problems=config.data.problems_per_step,
        group=config.sampling.group_size,
        prompt=prompt or config.data.prompt_tokens // 4,
        answer=64,
        mean=mean or cap * MEAN_SHARE,
        spread=0.6,
        cap=cap,
        contexts=contexts,
        reference=bool(method.beta),
    )


def as_json(plan: Plan) -> dict[str, Any]:
    """The plan as plain data."""
    ideal, expected = plan.seconds
    return {
        "config": plan.config,
        "topology": plan.topology.name,
        "accelerator": plan.topology.cloud_name,
        "chips": plan.topology.chips,
        "usable_gib": plan.topology.chip.usable_gib,
        "fits": plan.fits,
        "programs": [dataclasses.asdict(m) | {"fits": fits(m, plan.topology)} for m in plan.measured],
        "phases": [dataclasses.asdict(p) for p in plan.phases],
        "seconds_per_step": {"ideal": ideal, "expected": expected},
        "assumptions": plan.assumptions,
        "advice": plan.advice,
        "checkpoint_bytes": plan.checkpoint_bytes,
        "host_bytes": plan.host_bytes,
    }

"""Settings that contradict each other are refused here, by name, before anything is read or compiled."""

from operator import attrgetter

import numpy as np
from jax.sharding import Mesh

from hsd_jax.config import Config
from hsd_jax.config import Lora as LoraSettings
from hsd_jax.errors import InputError
from hsd_jax.methods import row
from hsd_jax.methods.row import Method
from hsd_jax.reading import donors
from hsd_jax.reading.pieces import reads_block
from hsd_jax.runtime.timing import steps_of
from models import lora
from models.lora import Lora
from models.qwen3 import Qwen3Config

MOST, SECONDS, MOMENT = 1e12, (1e-3, 1e9), (0, 0.999999)
SEEDS = (0, 10**18)  # what every library that draws takes
RANGES = {
    "seed": SEEDS,
    "evaluation.every": (0, MOST),
    "evaluation.temperature": (0, MOST),
    "evaluation.top-p": (1e-6, 1),
    "logging.rollouts-every": (0, MOST),
    "logging.rollout-problems": (0, MOST),
    "checkpoints.keep-every": (0, MOST),
    "checkpoints.every-minutes": (0, MOST),
    "optimizer.warmup-steps": (0, MOST),
    "optimizer.clip-norm": (0, MOST),
    "optimizer.weight-decay": (0, MOST),
    "optimizer.b1": MOMENT,
    "optimizer.b2": MOMENT,
    "optimizer.eps": (0, MOST),
    "verifier.seconds": SECONDS,
    "verifier.test-seconds": SECONDS,
    "verifier.check-seconds": SECONDS,
    "verifier.tolerance": (0, MOST),
}


def refuse_outside(field: str, value: float, low: float, high: float) -> None:
    """Raises InputError for a number below `low`, above `high`, or that is none."""
    if not low <= value <= high:
        raise InputError(f"{field} must be from {low:g} to {high:g}; got {value}")


def check(config: Config, method: Method, processes: int) -> None:
    """Refuses settings that contradict each other."""
    for field, (low, high) in RANGES.items():
        refuse_outside(field, attrgetter(field.replace("-", "_"))(config), low, high)
    data, sampling, optimizer = config.data, config.sampling, config.optimizer
    name = config.method.name
    read, peer = row.pieces(method), row.peer_of(method)
    least = 2 if peer or method.policy else 1
    why = "a peer is another rollout" if peer else "rollouts are compared within their group"
    at_least = {
        "sampling.group-size": (sampling.group_size, least, f" for {name!r} ({why})" if least == 2 else ""),
        "steps": (config.steps, 1, ""),
        "sampling.response-tokens": (sampling.response_tokens, 1, ""),
        "data.problems-per-step": (data.problems_per_step, 1, ""),
        "optimizer.micro-batches": (optimizer.micro_batches, 1, ""),
        "optimizer.attention-block": (optimizer.attention_block, 1, ""),
        "evaluation.problems": (config.evaluation.problems, 1, ""),
        "evaluation.samples": (config.evaluation.samples, 1, ""),
        "checkpoints.every": (config.checkpoints.every, 1, ""),
        "checkpoints.every-minutes": (config.checkpoints.every_minutes, 0, ""),
        "checkpoints.keep": (config.checkpoints.keep, 1, ""),
        "verifier.workers": (config.verifier.workers, 1, ""),
    }
    for field, (value, minimum, reason) in at_least.items():
        if value < minimum:
            raise InputError(f"{field} must be at least {minimum}{reason}; got {value}")
    if optimizer.learning_rate < 0 or not np.isfinite(optimizer.learning_rate):
        raise InputError(f"optimizer.learning-rate must be a finite number >= 0; got {optimizer.learning_rate}")
    if data.problems_per_step % (optimizer.micro_batches * method.minibatches * processes):
        raise InputError(
            f"data.problems-per-step ({data.problems_per_step}) must be a multiple of optimizer.micro-batches x"
            f" method.minibatches x processes ({optimizer.micro_batches} x {method.minibatches} x {processes}), since"
            " a micro-batch holds whole problems"
        )
    _check_texts(config, method)
    if donors.borrowed(read) and data.problems_per_step < 2:
        raise InputError(
            f"data.problems-per-step is {data.problems_per_step}, but method.control {config.method.control} reads what"
            " belongs to another problem of the step; take 2 or more"
        )


def _check_texts(config: Config, method: Method) -> None:
    """Refuses texts that the method reads and that get no room, or have no file."""
    name, data, read = config.method.name, config.data, row.pieces(method)
    rooms = {"solution": data.solution_tokens, "feedback": data.feedback_tokens, "rubric": data.rubric_tokens}
    rooms["skill"] = data.skill_tokens
    further = row.further_texts(method)
    skills = [name for name in further if name.startswith("skill")]
    if skills and not data.skill_bank:
        raise InputError(
            f"data.skill-bank is empty, but the teachers of {name!r} read {len(skills)} skills; give a JSON-lines file"
        )
    for block, room in rooms.items():
        if (reads_block(read, block) or (block == "skill" and skills)) and room < 1:
            raise InputError(
                f"data.{block}-tokens is {room}, but the teacher of {name!r} reads the {block}; give it room"
            )


def adapters_of(config: Config, model: Qwen3Config) -> Lora:
    """The adapters that train. Raises: InputError for settings that this model cannot have, or that nothing reads."""
    settings = config.lora
    if settings.rank:
        found = Lora(settings.rank, settings.alpha, tuple(settings.targets.split(",")))
        lora.check(found, model)
        return found
    if settings != LoraSettings():
        raise InputError("lora.rank is 0, so all weights train and lora.alpha and lora.targets say nothing; set a rank")
    return lora.NONE


def check_logging(config: Config) -> None:
    """Refuses steps to trace that are none."""
    steps_of(config.logging.profile_steps)


def check_positions(config: Config, max_positions: int) -> None:
    """Refuses windows that together are longer than the positions that the model knows."""
    data, sampling = config.data, config.sampling
    response = max(sampling.response_tokens, sampling.code_response_tokens)
    for field, context in (("prompt", data.prompt_tokens), ("context", data.context_tokens)):
        if context + response > max_positions:
            raise InputError(
                f"data.{field}-tokens {context} and responses of {response} tokens do not fit into the model's"
                f" {max_positions} positions; lower data.{field}-tokens, sampling.response-tokens or"
                " sampling.code-response-tokens"
            )


def check_mesh(config: Config, method: Method, mesh: Mesh) -> None:
    """Refuses batches that do not divide over the devices, and rows that several processes would have to fill."""
    owners = [{device.process_index for device in row} for row in mesh.devices.reshape(-1, mesh.shape["tensor"])]
    if any(len(processes) > 1 for processes in owners):
        raise InputError(
            f"mesh.tensor ({mesh.shape['tensor']}) spreads a row over the chips of several hosts, but each host has"
            " problems of its own; use a smaller one"
        )
    rows = mesh.shape["data"] * mesh.shape["fsdp"]
    part = config.data.problems_per_step // config.optimizer.micro_batches // method.minibatches
    if part % rows:
        raise InputError(
            f"data.problems-per-step / optimizer.micro-batches ({part}) must be a multiple of mesh.data x mesh.fsdp"
            f" ({mesh.shape['data']} x {mesh.shape['fsdp']}), so that every device gets whole problems"
        )

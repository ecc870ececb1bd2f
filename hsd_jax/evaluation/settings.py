"""The settings of an evaluation: which they are, which of them the answers depend on, and which cannot work."""

from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, Literal

import jax

from hsd_jax.config import Verifier
from hsd_jax.errors import InputError
from hsd_jax.runtime import paths
from hsd_jax.sampler import token_sampling
from hsd_jax.sampler.token_sampling import SamplingParams as Choice
from hsd_jax.setup import validation
from hsd_jax.setup.validation import SEEDS, refuse_outside


@dataclass(frozen=True)
class EvalConfig:
    """Settings of an evaluation."""

    checkpoint: Annotated[str, paths.GIVEN]
    """A Hugging Face directory, a workdir, or one of its checkpoints."""
    samples: int = 16
    """Answers to each problem."""
    temperature: float = 1.0
    """0 is greedy."""
    top_p: float = 1.0
    """Nucleus: the smallest set of likeliest tokens that holds this mass; 1 keeps all."""
    top_k: int = 0
    """Keep this many likeliest tokens; 0 keeps all."""
    seed: int = 0
    """Addresses all randomness; the same seed gives the same answers, in bfloat16 for the same batch and slots only."""
    prompt_tokens: int = 2048
    """Window of the prompt; longer questions are left out, counted and named."""
    response_tokens: int = 4096
    """The cap of an answer to a math question."""
    code_response_tokens: int = 8192
    """The cap of an answer to a code question."""
    thinking: bool = False
    """Ask the chat template for thinking mode."""
    batch: int = 16
    """Problems asked at a time on each process; results are saved after each batch."""
    slots: int = 0
    """Rows decoded at a time on each process; 0: all samples of a batch."""
    chunk: int = 64
    """Decode steps between two host syncs."""
    tensor: int = 1
    """Devices that share one copy of the weights."""
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """Number format of the weights and the cache while decoding; in float32 products are not rounded either."""
    exact: bool = False
    """For evaluations that are to be compared: float32, and a batch, slots and a chunk that are always the same."""
    workers: int = 2
    """Grading processes on each host."""
    verifier_seconds: float = 5.0
    """Hard limit of one math check."""
    allow_unsandboxed: bool = False
    """Run model-written programs without any sandbox. Never do this on a machine you care about."""


MANY = 1_000_000
RANGES = {
    "seed": SEEDS,
    "verifier_seconds": validation.RANGES["verifier.seconds"],
    "samples": (1, MANY),
    "batch": (1, MANY),
    "slots": (0, MANY),
}
EXACT = {"dtype": "float32", "batch": 16, "slots": 64, "chunk": 64}
# What changes how fast the answers come, but not which ones; SHAPES only in float32, as they change the order of sums.
SPEED = ("workers", "allow_unsandboxed")
SHAPES = ("batch", "slots", "chunk", "tensor")


def settled(asking: EvalConfig) -> EvalConfig:
    """The settings with those that `exact` fixes. Raises: InputError where another value was given for one of them."""
    if not asking.exact:
        return asking
    for name, value in EXACT.items():
        given = getattr(asking, name)
        if given not in (value, getattr(EvalConfig, name)):
            raise InputError(f"--exact: it fixes --{name} at {value}; got {given}; drop one of the two")
    return replace(asking, **EXACT)


def decisive(asking: EvalConfig) -> dict[str, Any]:
    """The settings that the answers depend on. In bfloat16 sums depend on their order, and so on shapes and devices."""
    free = {*SPEED, *(SHAPES if asking.dtype == "float32" else ())}
    places = {} if asking.dtype == "float32" else {"devices": jax.device_count(), "processes": jax.process_count()}
    return {name: value for name, value in asdict(asking).items() if name not in free} | places


def check(asking: EvalConfig) -> None:
    """Refuses numbers that cannot work, before anything is loaded."""
    for name in ("samples", "prompt_tokens", "response_tokens", "code_response_tokens", "batch", "workers"):
        if getattr(asking, name) < 1:
            raise InputError(f"--{name.replace('_', '-')} must be at least 1; got {getattr(asking, name)}")
    if asking.slots < 0:
        raise InputError(f"--slots must be at least 0; got {asking.slots}")
    for name, (low, high) in RANGES.items():
        refuse_outside(f"--{name.replace('_', '-')}", getattr(asking, name), low, high)
    if asking.temperature == 0 and asking.samples > 1:
        raise InputError(f"--temperature 0 is greedy: all {asking.samples} samples would be equal; pass --samples 1")
    settled(asking)
    choice(asking, ())


def choice(asking: EvalConfig, stop_ids: tuple[int, ...]) -> Choice:
    """How tokens are chosen."""
    return token_sampling.sampling_params(
        temperature=asking.temperature, top_p=asking.top_p, top_k=asking.top_k, stop_ids=stop_ids
    )


def verifier_of(asking: EvalConfig) -> Verifier:
    """The settings of the verifier processes."""
    return Verifier(workers=asking.workers, seconds=asking.verifier_seconds, allow_unsandboxed=asking.allow_unsandboxed)

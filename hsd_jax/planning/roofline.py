"""Seconds of a step from first principles: operations over peak, bytes over bandwidth, for assumed response lengths.

`ideal` reaches the chip's limits; `expected` the share of them that others have measured on the same chips. Both are
estimates: no TPU has run this.
"""

import heapq
import math
from dataclasses import dataclass

from hsd_jax.config import Config
from hsd_jax.planning.chips import Topology
from hsd_jax.planning.workload import Workload, response_lengths
from models.qwen3 import Qwen3Config

BF16 = 2
STATE_TRAFFIC = 28  # bytes per parameter that AdamW reads and writes in float32: gradient, weight and two moments
# Share of peak that training systems have reached (forward alone, forward and backward), and of the bandwidth limit
# that decoding engines have reached. Sources: MaxText and tpu-recipes (MFU), sglang-jax on v6e (37-46% decoding).
FORWARD = {"v5e": 0.55, "v5p": 0.60, "v6e": 0.45}
BACKWARD = {"v5e": 0.55, "v5p": 0.60, "v6e": 0.42}
DECODE = 0.45


@dataclass(frozen=True)
class Phase:
    """A part of the step: seconds at the chip's limits, and at the share of them that is reached elsewhere."""

    name: str
    ideal: float
    expected: float


def layer_params(model: Qwen3Config) -> int:
    """Weights of all decoder layers without norms."""
    attention = model.width * model.head_dim * (2 * model.heads + 2 * model.kv_heads)
    return model.layers * (attention + 3 * model.width * model.mlp_width)


def head_params(model: Qwen3Config) -> int:
    """Weights of the vocabulary head."""
    return model.width * model.vocab_size


def kv_bytes(model: Qwen3Config) -> int:
    """Keys and values of one token in bfloat16."""
    return 2 * model.layers * model.kv_heads * model.head_dim * BF16


def forward_flops(model: Qwen3Config, tokens: float, pairs: float) -> float:
    """Operations of the layers for `tokens`, with `pairs` of a query and a key it sees."""
    return 2 * layer_params(model) * tokens + 4 * model.layers * model.heads * model.head_dim * pairs


def decode_phase(model: Qwen3Config, topology: Topology, work: Workload, *, tensor: int, slots: int) -> Phase:
    """Reading the weights at every step while anything is active, and every live key and value.

    Each group of `tensor` chips decodes its own rollouts in `slots` rows, refilled at once. Two all-reduces per layer
    are not in it (they are in what decoding engines reach).
    """
    chip = topology.chip
    share = math.ceil(work.rollouts * tensor / topology.chips)
    lengths = response_lengths(work, share)
    weights = layer_params(model) + head_params(model)
    read = weights * BF16 / (tensor * chip.hbm_gbps * 1e9)
    multiply = 2 * weights / (tensor * chip.bf16_tflops * 1e12)
    seconds = sum(steps * max(read, multiply * active) for steps, active in _activity(lengths, max(1, slots)))
    live = sum(work.prompt * n + n * n / 2 for n in lengths)
    seconds += live * kv_bytes(model) / (tensor * chip.hbm_gbps * 1e9)
    return Phase("decode", seconds, seconds / DECODE)


def _activity(lengths: list[float], slots: int) -> list[tuple[float, int]]:
    """(steps, active rows) pieces of a decode with refill; lengths are taken in an order that mixes short and long."""
    stride = next(
        s for s in range(max(1, int(len(lengths) * 0.618)), len(lengths) + 2) if math.gcd(s, len(lengths)) == 1
    )
    waiting = [lengths[i * stride % len(lengths)] for i in range(len(lengths))]
    ends = [waiting.pop() for _ in range(min(slots, len(waiting)))]
    heapq.heapify(ends)
    now, pieces = 0.0, []
    while ends:
        end = heapq.heappop(ends)
        pieces.append((end - now, len(ends) + 1))
        now = end
        if waiting:
            heapq.heappush(ends, now + waiting.pop())
    return pieces


def scoring_flops(model: Qwen3Config, work: Workload) -> dict[str, float]:
    """Useful operations of the passes over all responses, over all chips, with a head only at response tokens."""
    lengths = response_lengths(work, work.rollouts)
    responses, squares = sum(lengths), sum(n * n for n in lengths) / 2
    mean = responses / work.rollouts
    peer = work.prompt + work.answer + mean
    student = _pass(model, work.problems, work.prompt, responses, squares)
    teacher = _pass(model, work.problems * work.contexts, peer, responses, squares)
    head = 2 * head_params(model) * responses
    passes = {"teacher": work.views * (teacher + head)} if work.contexts else {}
    if work.reference:
        passes["reference"] = student + head
    if work.old_policy:
        passes["old policy"] = student + head
    return passes | {"student": 3 * student + 3 * head}


def _pass(model: Qwen3Config, contexts: float, context: float, responses: float, squares: float) -> float:
    """A forward pass over every context once and every response after one of them."""
    tokens = contexts * context + responses
    pairs = contexts * context * context / 2 + responses * context + squares
    return forward_flops(model, tokens, pairs)


def step_phases(
    model: Qwen3Config, topology: Topology, work: Workload, *, tensor: int, slots: int, update_flops: float
) -> list[Phase]:
    """All phases of a step. `update_flops`: of the compiled update on one chip, with padding and recomputation.

    The update's expected time follows from them; where they are 0 (not known), from the useful ones and one remat.
    """
    chip, chips = topology.chip, topology.chips
    peak = chips * chip.bf16_tflops * 1e12
    prompts = forward_flops(model, work.problems * work.prompt, work.problems * work.prompt**2 / 2) / peak
    passes = scoring_flops(model, work)
    ideal = sum(passes.values()) / peak
    reached = BACKWARD[chip.name]
    expected = update_flops / (chip.bf16_tflops * 1e12 * reached) if update_flops else 4 / 3 * ideal / reached
    optimizer = STATE_TRAFFIC * (layer_params(model) + 2 * head_params(model)) / (chips * chip.hbm_gbps * 1e9)
    moved = (layer_params(model) + head_params(model)) * BF16 / tensor / (chip.link_gbps * 1e9)
    return [
        Phase("move weights", moved, moved / DECODE),
        Phase("prefill", prompts, prompts / FORWARD[chip.name]),
        decode_phase(model, topology, work, tensor=tensor, slots=slots),
        Phase("score and differentiate", ideal, expected),
        Phase("AdamW", optimizer, optimizer / DECODE),
    ]


def phases_of(
    config: Config, model: Qwen3Config, topology: Topology, work: Workload, *, update_flops: float
) -> list[Phase]:
    """`step_phases` with the slots that the config's sampler has on this slice."""
    s = config.sampling
    share = work.rollouts * s.tensor // topology.chips
    slots = s.slots * s.tensor // topology.chips_per_host if s.slots else share
    return step_phases(model, topology, work, tensor=s.tensor, slots=slots, update_flops=update_flops)


def assumptions(topology: Topology, work: Workload) -> list[str]:
    """What the seconds rest on, in words."""
    chip = topology.chip
    return [
        f"responses log-normal, mean {work.mean:.0f} tokens, spread {work.spread:g}, cut at {work.cap};"
        f" prompts {work.prompt}",
        f"{chip.name}: {chip.bf16_tflops:g} TFLOP/s bf16, {chip.hbm_gbps:g} GB/s HBM, {chip.link_gbps:g} GB/s per axis",
        f"expected: {BACKWARD[chip.name]:.0%} of peak in the update (as published for training on this chip),"
        f" {DECODE:.0%} of the bandwidth limit in decoding (as measured for serving engines)",
        "grading runs while the sampler works",
    ]

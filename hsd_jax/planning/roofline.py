"""Seconds of a step: at the limits of the chip, and as the compiled programs use it.

`ideal`: useful operations over peak, weights and live keys over bandwidth. `expected`: the cycles that the compiler
itself counts for its programs, for what they really read and compute: allocated rings, empty places, recomputation,
attention far from peak; decoding waits for its slowest host. Both are estimates: no TPU has run this.
"""

import heapq
import math
from collections.abc import Iterable, Mapping

from hsd_jax.config import Config
from hsd_jax.planning import decoding
from hsd_jax.planning.chips import Topology
from hsd_jax.planning.decoding import Replay
from hsd_jax.planning.measured import Measured, Phase
from hsd_jax.planning.workload import Workload, response_lengths
from hsd_jax.sampler.decode import CHECK
from models.qwen3 import Qwen3Config

BF16 = 2
STATE_TRAFFIC = 28  # bytes per parameter that AdamW reads and writes in float32: gradient, weight and two moments
# Where nothing is compiled: useful operations of the update over the time of its compiled cycles, as a share of peak,
# and the share of bandwidth of a compiled decode step. Qwen3-8B, the configs' slices (docs/sizing.md).
UPDATE = {"v5e": 0.24, "v5p": 0.19, "v6e": 0.07}
DECODE = {"v5e": 0.61, "v5p": 0.43, "v6e": 0.76}


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


def decode_limit(model: Qwen3Config, topology: Topology, work: Workload, *, tensor: int, slots: int) -> float:
    """Seconds for the weights at every step while anything is active, and every live key, where lengths are even.

    Each group of `tensor` chips decodes its own rollouts in `slots` rows, refilled at once.
    """
    chip = topology.chip
    lengths = response_lengths(work, math.ceil(work.rollouts * tensor / topology.chips))
    weights = layer_params(model) + head_params(model)
    read = weights * BF16 / (tensor * chip.hbm_gbps * 1e9)
    multiply = 2 * weights / (tensor * chip.bf16_tflops * 1e12)
    seconds = sum(steps * max(read, multiply * active) for steps, active in _activity(lengths, max(1, slots)))
    live = sum(work.prompt * n + n * n / 2 for n in lengths)
    return seconds + live * kv_bytes(model) / (tensor * chip.hbm_gbps * 1e9)


def decode_seconds(model: Qwen3Config, topology: Topology, host: Replay, *, tensor: int) -> float:
    """Seconds at full bandwidth for all that a host's chips read: the weights at each step, and the whole ring."""
    weights = host.steps * (layer_params(model) + head_params(model)) * BF16 / tensor
    ring = host.places * kv_bytes(model) / topology.chips_per_host
    return (weights + ring) / (topology.chip.hbm_gbps * 1e9)


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


def phases_of(
    config: Config, model: Qwen3Config, topology: Topology, work: Workload, seconds: Mapping[str, float] | None = None
) -> list[Phase]:
    """All phases of a step. `seconds` are those of one run of each compiled program, "exchanges" those of the update.

    Where a program was not compiled, shares of the limits stand for it.
    """
    run, chip, chips = seconds or {}, topology.chip, topology.chips
    peak, tensor = chips * chip.bf16_tflops * 1e12, config.sampling.tensor
    program = decoding.sampler_of(config, model, topology, work)
    hosts = decoding.hosts(program, work, topology.hosts)
    largest = Replay(CHECK, 0, CHECK * math.prod(program.shapes[-1]), 0.0, 0.0)
    at_limit = decode_seconds(model, topology, largest, tensor=tensor)
    share = min(1.0, at_limit / run["decode"]) if "decode" in run else DECODE[chip.name]
    prompts = forward_flops(model, work.problems * work.prompt, work.problems * work.prompt**2 / 2) / peak
    ideal = sum(scoring_flops(model, work).values()) / peak
    moved = (layer_params(model) + head_params(model)) * BF16 / (chip.link_gbps * 1e9)
    slots = program.shapes[-1][0] * tensor // topology.chips_per_host
    slowest = decode_seconds(model, topology, decoding.slowest(hosts), tensor=tensor)
    prefills = max(host.prefills for host in hosts)
    return [
        # each matrix goes whole to every chip on its way to the decoder
        Phase("move weights", moved / tensor, moved),
        Phase("prefill", prompts, prefills * run["prefill"] if "prefill" in run else prompts / UPDATE[chip.name]),
        Phase("decode", decode_limit(model, topology, work, tensor=tensor, slots=slots), slowest / share),
        Phase("score, differentiate, update", ideal, run.get("update", ideal / UPDATE[chip.name])),
        Phase("exchanges of the update", 0.0, run.get("exchanges", 0.0)),
    ]


def seconds_of(topology: Topology, measured: Iterable[Measured]) -> dict[str, float]:
    """Seconds of one run of each program that the compiler has counted cycles for, and of the update's exchanges.

    Exchanges that run beside other work cost nothing here, the others what they move at the limit of the links.
    """
    found = {m.stage: m.cycles / (topology.chip.clock_ghz * 1e9) for m in measured if m.cycles}
    moved = [
        kind["bytes"] * (1 - kind["asynchronous"] / kind["count"])
        for m in measured
        if m.stage == "update"
        for kind in m.collectives.values()
    ]
    return found | ({"exchanges": sum(moved) / (topology.chip.link_gbps * 1e9)} if moved else {})


def assumptions(config: Config, model: Qwen3Config, topology: Topology, work: Workload) -> list[str]:
    """What the seconds rest on, in words."""
    chip = topology.chip
    program = decoding.sampler_of(config, model, topology, work)
    hosts = decoding.hosts(program, work, topology.hosts)
    used, ring, live = (sum(getattr(h, name) for h in hosts) for name in ("used", "places", "live"))
    wait = decoding.slowest(hosts).places * len(hosts) / ring
    return [
        f"responses log-normal, mean {work.mean:.0f} tokens, spread {work.spread:g}, those of a question alike"
        f" (correlation .5), cut at {' or '.join(map(str, sorted(set(work.caps))))}; prompts {work.prompt}",
        f"{chip.name}: {chip.bf16_tflops:g} TFLOP/s bf16, {chip.clock_ghz:g} GHz, {chip.hbm_gbps:g} GB/s HBM,"
        f" {chip.link_gbps:g} GB/s per axis",
        f"decoding, replayed on drawn lengths: slots in use {used / len(hosts):.2f}, {ring / live:.1f} places read for"
        f" every live key, the slowest host reads {wait:.2f} times the mean",
        "expected: the compiler's own cycles of its programs where they were compiled; no TPU has confirmed them",
        "grading runs while the sampler works",
    ]

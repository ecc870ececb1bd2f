"""One HSD update, ours against the textbook's, on this machine: seconds, FLOPs and memory side by side.

    python -m benchmarks.update [--problems 2 --group 8 --response 256 --width 256]

A small body and the real vocabulary of 151,936. Response lengths are log-normal (cv 0.6, cap `--response`); the peer
is one of them, the question a sixth of the mean. Prints one line a way and the ratios.
"""

import argparse
import time
from typing import Any

import jax
import numpy as np

from benchmarks.grouped_updates import Update, in_order, make_groups, naive, packed, plan
from hsd_jax.planning.jaxpr_cost import jaxpr_of, matmul_flops
from models.qwen3 import Qwen3Config, init_params


def main() -> None:
    """Measures both and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"problems": 2, "group": 8, "response": 256, "width": 256, "block": 64, "chunk": 512}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--naive-memory-gib", type=float, default=16.0, help="leave the naive way out beyond this")
    args = parser.parse_args()
    config = small_body(args.width)
    sigma = np.sqrt(np.log(1 + 0.6**2))
    drawn = np.random.default_rng(0).lognormal(
        np.log(args.response / 2) - sigma**2 / 2, sigma, (args.problems, args.group)
    )
    length_PG = np.clip(drawn, 1, args.response).astype(int)
    length_PG[0, 0] = args.response
    question_P = np.full(args.problems, max(int(length_PG.mean()) // 6, 1))
    groups = make_groups(length_PG, question_P, "coupled", config.vocab_size)
    sizes = plan(groups, 1, args.block)
    ways = {
        "ours": packed(config, sizes, 1, args.response, chunk=args.chunk),
        "naive": naive(config, args.response),
    }
    params, reference = (jax.jit(init_params, static_argnums=0)(config, jax.random.key(seed)) for seed in (0, 1))
    inputs = params, reference, *in_order(groups, sizes.order_P)
    print(f"{length_PG.sum()} tokens in {length_PG.size} rollouts, {sizes.utilization:.0%} of packed positions used")
    found = {name: measure(name, way, inputs, args) for name, way in ways.items()}
    if all("seconds" in result for result in found.values()):
        ours, theirs = found["ours"], found["naive"]
        print(
            "naive / ours: " + ", ".join(f"{key} {theirs[key] / ours[key]:.2f}" for key in ("seconds", "flops", "temp"))
        )
        print(f"loss {ours['loss']:.6f} against {theirs['loss']:.6f}")


def small_body(width: int) -> Qwen3Config:
    """Four layers under the real vocabulary."""
    return Qwen3Config(
        vocab_size=151_936, width=width, mlp_width=3 * width, layers=4, heads=width // 32, kv_heads=width // 64,
        head_dim=32, rope_theta=1e6, norm_eps=1e-6, tied=True, max_positions=8192,
    )  # fmt: skip


def measure(name: str, way: Update, inputs: tuple[Any, ...], args: argparse.Namespace) -> dict[str, float]:
    """Compiles, runs after one warm-up, prints; only the size where memory would not suffice."""
    compiled = jax.jit(way).lower(*inputs).compile()
    memory: Any = compiled.memory_analysis()
    temp = memory.temp_size_in_bytes
    found = {"flops": matmul_flops(jaxpr_of(way, *inputs)), "temp": temp}
    if temp > args.naive_memory_gib * 2**30:
        print(f"{name}: {temp / 2**30:.1f} GiB of temporaries: not run")
        return found
    seconds = []
    for _ in range(args.repeat + 1):
        start = time.perf_counter()
        loss, _ = jax.block_until_ready(compiled(*inputs))
        seconds.append(time.perf_counter() - start)
    found |= {"seconds": float(np.median(seconds[1:])), "loss": float(loss)}
    print(f"{name}: {found['seconds']:.2f} s, {found['flops'] / 1e9:.0f} GFLOP, {temp / 2**30:.2f} GiB of temporaries")
    return found


if __name__ == "__main__":
    main()

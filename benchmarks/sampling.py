"""Valid tokens per second of three samplers on the same body and work, the cost of top-p, and the use of slots.

    python -m benchmarks.sampling                                        ours and transformers
    PYTHONPATH=DIR python -m benchmarks.sampling                         and Tunix, after
        python -m pip install --target DIR --no-deps google-tunix qwix google-metrax clu sentencepiece perfetto

Compilation is not counted. Ratios are of numbers measured in the same run; the slots (rows at a time) are the same.
An engine that does not finish a batch of the work within the budget is measured on its first batch.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from statistics import median

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import sampling_peers as peers
from benchmarks.sampling_peers import Engine
from hsd_jax.sampler.token_sampling import fold_key, sample_token, sampling_params


def rate(engine: Engine, prompts: Sequence[np.ndarray], top_p: float, batch: int, budget: float) -> float:
    """Valid tokens per second, over as many batches of prompts as the budget in seconds allows, at least one."""
    engine(peers.make_prompts(np.ones(batch, np.int32), min(map(len, prompts))), top_p)  # compiles, stops at once
    tokens, started = 0, time.perf_counter()
    for first in range(0, len(prompts), batch):
        tokens += engine(prompts[first : first + batch], top_p)
        if time.perf_counter() - started > budget:
            break
    return tokens / (time.perf_counter() - started)


def choice_seconds(top_p: float, *, rows: int = 16, repeats: int = 20) -> float:
    """Median time of choosing one token for every row from random logits."""
    logits_BV = jax.random.normal(jax.random.key(0), (rows, peers.VOCABULARY)) * 2
    chosen, active_B = sampling_params(top_p=top_p), jnp.ones(rows, bool)

    @jax.jit
    def once(logits_BV: jax.Array, step: jax.Array) -> jax.Array:
        key_B = fold_key(jax.random.key(0), jnp.arange(rows), jnp.full(rows, step), jnp.full(rows, step))
        return sample_token(logits_BV, key_B, chosen, vocabulary=peers.VOCABULARY, active_B=active_B)[0]

    once(logits_BV, jnp.int32(0)).block_until_ready()
    times = []
    for step in range(repeats):
        started = time.perf_counter()
        once(logits_BV, jnp.int32(step)).block_until_ready()
        times.append(time.perf_counter() - started)
    return median(times)


def engines(
    names: Sequence[str], *, window: int, longest: int, slots: int, group: int, uses: list[float]
) -> dict[str, Engine]:
    """The engines that can be built here; the others are named."""
    params = peers.counting_params()
    shape = {"window": window, "longest": longest, "slots": slots, "group": group}
    makers: dict[str, Callable[[], Engine]] = {
        "hsd_jax": lambda: peers.ours(params, **shape, uses=uses),
        "transformers": lambda: peers.transformers(params, **shape),
        "tunix": lambda: peers.tunix(params, **shape),
    }
    built = {}
    for name in names:
        try:
            built[name] = makers[name]()
        except ImportError as error:
            print(f"{name}: skipped, {error}; see the head of this file for how to install it")
    return built


def main() -> None:
    """Prints one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", nargs="+", default=["hsd_jax", "transformers", "tunix"])
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--slots", type=int, default=16)
    parser.add_argument("--mean", type=float, default=40, help="mean response length, tokens")
    parser.add_argument("--longest", type=int, default=128)
    parser.add_argument("--window", type=int, default=32, help="prompt window, tokens")
    parser.add_argument("--budget", type=float, default=60, help="seconds after which an engine starts no new batch")
    args = parser.parse_args()

    lengths = peers.log_normal_lengths(args.prompts, args.mean, args.longest)
    prompts = peers.make_prompts(lengths, args.window)
    uses: list[float] = []
    built = engines(
        args.engines, window=args.window, longest=args.longest, slots=args.slots, group=args.group, uses=uses
    )
    print(
        f"{args.prompts} prompts x {args.group}, {args.slots} rows at a time, V = {peers.VOCABULARY}; lengths {lengths}"
    )
    rates: dict[tuple[str, float], float] = {}
    for top_p in (1.0, 0.95):
        for name, engine in built.items():
            # ours refills its slots from all the work; the others take one batch of rows after another
            batch = args.prompts if name == "hsd_jax" else max(1, args.slots // args.group)
            rates[name, top_p] = rate(engine, prompts, top_p, batch, args.budget)
            against = rates.get(("hsd_jax", top_p), float("nan")) / rates[name, top_p]
            print(f"top_p {top_p:<5} {name:<13} {rates[name, top_p]:9.1f} tokens/s   hsd_jax is {against:6.2f} x")
    for name in built:
        print(f"time(top_p .95) / time(top_p 1), whole sampler, {name:<13} {rates[name, 1.0] / rates[name, 0.95]:6.2f}")
    print(f"the same, our choice of a token alone           {choice_seconds(0.95) / choice_seconds(1.0):6.2f}")
    if uses:
        print(f"slot use of hsd_jax {uses[-1]:.2f}")


if __name__ == "__main__":
    main()

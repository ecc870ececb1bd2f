"""The model at real size: loading memory, parity of the true 0.6B shape, compile time against depth.

python benchmarks/model.py load [--gigabytes 2]     peak host memory of loading on four devices, bytes read twice
python benchmarks/model.py parity                   Qwen3-0.6B shape, 256 tokens, against transformers (needs torch)
python benchmarks/model.py compile                  36 layers against 4: lowering and compiling
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=4")
sys.path.insert(0, str(Path(__file__).parents[1]))

import jax
import jax.numpy as jnp
import numpy as np
import psutil

from models import hf, hf_layout, tensor_files
from models.qwen3 import Qwen3Config, forward, init_params, logits, param_shapes, params_of
from models.scan import Compute
from models.sharding import batch_sharding, make_mesh

QWEN3_06B = Qwen3Config(151936, 1024, 3072, 28, 16, 8, 128, 1e6, 1e-6, True, 40960)
MIB = 1 << 20


def write_random(directory: Path, config: Qwen3Config, dtype: str) -> int:
    """A random checkpoint; returns its bytes."""
    shapes, rng = param_shapes(config), np.random.default_rng(0)
    tensors = {}
    for entry, layer in hf_layout.entries(shapes):
        name, stacked = entry.theirs.format(layer), (shapes["layers"] if entry.stacked else shapes)[entry.ours]
        shape = hf_layout.file_shape(entry, hf_layout.sizes(entry, stacked))
        drawn = rng.standard_normal(shape, np.float32) * 0.02 + ("norm" in name)
        tensors[name] = drawn.astype(tensor_files.DTYPES[tensor_files.CODES[dtype]])
    tensor_files.write(directory / "model.safetensors", tensors)
    (directory / "config.json").write_text(json.dumps(config.to_hf(dtype=dtype)))
    return (directory / "model.safetensors").stat().st_size


def peak_of(work: Callable[[], Any]) -> tuple[Any, float]:
    """A result and the highest resident memory (MiB above the start) seen while it was made, every 2 ms."""
    process = psutil.Process()
    start, peak, done = process.memory_info().rss, 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.002):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        result = work()
    finally:
        done.set()
        watcher.join()
    return result, (peak - start) / MIB


def measure_load(folder: str, dtype: str, sizes: tuple[int, int, int]) -> None:
    """Loads on a mesh of four devices in this process; prints memory and how often each weight was read."""
    read, elements = tensor_files.Tensor.read, []

    def counted(self: tensor_files.Tensor, index: tuple[slice, ...]) -> np.ndarray:
        values = read(self, index)
        elements.append(values.size)
        return values

    tensor_files.Tensor.read = counted
    mesh = make_mesh(*sizes, devices=jax.devices()[:4])
    jax.block_until_ready(jax.jit(jnp.zeros, static_argnums=0, out_shardings=batch_sharding(mesh))(4))
    began = time.perf_counter()
    params, peak = peak_of(lambda: jax.block_until_ready(params_of(hf.load(folder, mesh=mesh, dtype=dtype))))
    leaves = jax.tree.leaves(params)
    arrays = sum(shard.data.nbytes for leaf in leaves for shard in leaf.addressable_shards) / MIB
    times = sum(elements) / sum(leaf.size for leaf in leaves)
    print(
        f"load as {dtype} on data x fsdp x tensor = {sizes}: peak {peak - arrays:.0f} MiB above the {arrays:.0f} MiB "
        f"of arrays, every weight read {times:.3f} times, {time.perf_counter() - began:.1f} s",
        flush=True,
    )


def bench_load(gigabytes: float) -> None:
    """Each case in a process of its own: freed memory would hide what the next one needs."""
    narrow = round((gigabytes * 1e9 / 2 - 151936 * 1024) / 15.73e6)
    wide = round((gigabytes * 1e9 / 2 - 32768 * 4096) / 192.9e6)
    shapes = {
        "0.6B widths": replace(QWEN3_06B, layers=narrow),
        "8B widths": Qwen3Config(32768, 4096, 12288, wide, 32, 8, 128, 1e6, 1e-6, True, 40960),
    }
    for name, config in shapes.items():
        with tempfile.TemporaryDirectory() as folder:
            size = write_random(Path(folder), config, "bfloat16")
            print(f"{size / 1e9:.2f} GB, {name}, {config.layers} layers", flush=True)
            for dtype, sizes in (
                ("bfloat16", "1,4,1"),
                ("float32", "1,4,1"),
                ("float32", "1,2,2"),
                ("bfloat16", "2,2,1"),
            ):
                case = ["--folder", folder, "--dtype", dtype, "--mesh", sizes]
                subprocess.run([sys.executable, __file__, "load", *case], check=True)


def bench_parity() -> None:
    """Float32 logits of 256 random tokens, ours against transformers'."""
    import torch
    import transformers

    tokens = np.random.default_rng(1).integers(0, QWEN3_06B.vocab_size, (1, 256))
    with tempfile.TemporaryDirectory() as folder:
        write_random(Path(folder), QWEN3_06B, "bfloat16")
        theirs = transformers.Qwen3ForCausalLM.from_pretrained(folder, dtype="float32", attn_implementation="eager")
        with torch.no_grad():
            wanted = theirs(torch.tensor(tokens)).logits.numpy()
        del theirs
        got = np.asarray(hf.load(folder)(jnp.asarray(tokens)))
    scale = np.abs(wanted).max()
    error = np.abs(got - wanted).max()
    same = (got.argmax(-1) == wanted.argmax(-1)).mean()
    print(
        f"parity 0.6B, 256 tokens: max difference {error:.2e}, {error / scale:.2e} of the top logit; argmax {same:.3f}"
    )


def bench_compile() -> None:
    """Gradient of a loss at Qwen3-0.6B widths; each depth is lowered and compiled twice, the faster one counts."""

    def seconds(layers: int) -> float:
        config = Qwen3Config(32768, 1024, 3072, layers, 16, 8, 128, 1e6, 1e-6, True, 40960)
        params = jax.eval_shape(lambda: init_params(config, jax.random.key(0)))
        tokens = jax.ShapeDtypeStruct((1, 256), jnp.int32)

        def loss(params: Any, tokens: jax.Array) -> jax.Array:
            hidden = forward(config, params, tokens, tokens >= 0, how=Compute(jnp.bfloat16, "full"))
            return jnp.mean(logits(params, hidden) ** 2)

        began = time.perf_counter()
        jax.jit(jax.grad(loss)).lower(params, tokens).compile()
        return time.perf_counter() - began

    seconds(2)  # first use of everything
    shallow, deep = (min(seconds(layers) for _ in range(3)) for layers in (4, 36))
    print(f"compile: 36 layers {deep:.2f} s, 4 layers {shallow:.2f} s, ratio {deep / shallow:.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["load", "parity", "compile"])
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--folder", default="", help="an existing directory: load only this, once")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--mesh", default="1,4,1")
    arguments = parser.parse_args()
    if arguments.what == "parity":
        bench_parity()
    elif arguments.what == "compile":
        bench_compile()
    elif arguments.folder:
        data, fsdp, tensor = map(int, arguments.mesh.split(","))
        measure_load(arguments.folder, arguments.dtype, (data, fsdp, tensor))
    else:
        bench_load(arguments.gigabytes)

"""The decode chunk of Qwen3-8B compiled for a TPU slice on this machine: memory, donation and bytes moved per step.

    python -m benchmarks.decode_aot [--topology v6e:8x8 --rows 1024 --layers 36 --length 4352]

Needs libtpu, no TPU. "HBM bytes" counts what one decode step moves between HBM and the chip, from the compiled text;
XLA's own "bytes accessed" also counts what moves inside the chip.
"""

import argparse
import os
import re
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from hsd_jax.sampler import decode, kv_cache
from hsd_jax.sampler.buckets import make_sampler_config
from hsd_jax.sampler.decode_sharding import DecodeParams, decode_mesh, shardings
from hsd_jax.sampler.state import Capacity, ChunkLimits, SamplerConfig
from hsd_jax.sampler.token_sampling import sampling_params
from models.qwen3 import Qwen3Config, param_shapes

GIB = 2**30
# Nearly all VMEM for the operations themselves. With the default, weights are prefetched into VMEM and XLA's count
# has them three times (out of HBM, into VMEM, out of VMEM), which says nothing about HBM.
Options = dict[str, str | bool]
COUNTING: Options = {"xla_tpu_scoped_vmem_limit_kib": "122880"}
WIDTHS = {"f32": 4, "s32": 4, "u32": 4, "bf16": 2, "f16": 2, "s8": 1, "u8": 1, "pred": 1}
NO_TRAFFIC = {"parameter", "get-tuple-element", "tuple", "bitcast", "while", "conditional", "constant", "custom-call"}


@dataclass(frozen=True)
class Chunk:
    """Per chip: bytes of the weights a step reads and of the cache, and what the compiler made of the program."""

    weights: float
    cache: float
    temporary: int
    aliased: int
    arguments: int
    accessed: float
    hbm: float


def qwen3_8b(layers: int = 36, vocabulary: int = 151_936) -> Qwen3Config:
    """Qwen3-8B; fewer layers and ids where only what a layer costs is wanted."""
    return Qwen3Config(
        vocab_size=vocabulary,
        width=4096,
        mlp_width=12_288,
        layers=layers,
        heads=32,
        kv_heads=8,
        head_dim=128,
        rope_theta=1e6,
        norm_eps=1e-6,
        tied=False,
        max_positions=40_960,
    )


def compile_chunk(
    config: Qwen3Config,
    topology: str,
    *,
    rows: int = 1024,
    length: int = 4352,
    options: Options = COUNTING,
) -> Chunk:
    """Compiles `decode` for rows x length bf16 cache places over all chips, four to a tensor group."""
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
    from jax.experimental import mesh_utils, topologies

    devices = topologies.get_topology_desc(platform="tpu", topology_name=topology).devices
    grid = mesh_utils.create_device_mesh((len(devices) // 4, 4), devices, allow_split_physical_axes=True)
    program = make_sampler_config(
        config,
        Capacity(256, length - 256, rows),
        vocabulary=min(151_669, config.vocab_size),
        pad_id=0,
        dtype="bfloat16",
        mesh=decode_mesh(tensor=4, devices=list(grid.ravel())),
    )
    args = abstract_arguments(program, rows, length)
    compiled = decode.decode.lower(program, *args).compile(compiler_options=options)
    memory, cost = compiled.memory_analysis(), compiled.cost_analysis()
    text = compiled.as_text()
    assert memory is not None and cost is not None and text is not None
    params, cache = args[0], args[1]
    return Chunk(
        weights=bytes_per_chip({name: value for name, value in params.items() if name != "embed_VD"}),
        cache=bytes_per_chip(cache),
        temporary=memory.temp_size_in_bytes,
        aliased=memory.alias_size_in_bytes,
        arguments=memory.argument_size_in_bytes,
        accessed=cost["bytes accessed"],
        hbm=hbm_bytes(text),
    )


def abstract_arguments(program: SamplerConfig, rows: int, length: int) -> tuple[Any, ...]:
    """Everything `decode` takes, as shapes with shardings."""
    layout = program.layout
    shapes = jax.eval_shape(lambda: kv_cache.empty_cache(program=program, rows=rows, length=length))

    def place(tree: Any, *letters: str | None) -> Any:
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=layout.sharding(*letters[: x.ndim])), tree
        )

    key = jax.eval_shape(lambda: jax.random.key(0))
    count: Any = jax.ShapeDtypeStruct((), jnp.int32)
    rest = (sampling_params(top_p=0.95), key, ChunkLimits(count, count))
    cache, slots = place(shapes[0], "B", "K", None, None), place(shapes[1], "B")
    return abstract_params(program), cache, slots, *(place(x) for x in rest)


def abstract_params(program: SamplerConfig) -> DecodeParams:
    """The shapes of `decode_params`, norms in float32."""
    config, placed = program.config, shardings(program.config, program.layout)
    shapes = param_shapes(config)

    def leaf(name: str, shape: tuple[int, ...], sharding: Any) -> Any:
        return jax.ShapeDtypeStruct(shape, jnp.float32 if "norm" in name else program.dtype, sharding=sharding)

    layer = {n: leaf(n, shape[1:], placed["layers"][0][n]) for n, shape in shapes["layers"].items()}
    ends = {"embed_VD": shapes["embed_VD"], "head_VD": shapes["embed_VD"], "final_norm_D": shapes["final_norm_D"]}
    return {"layers": (layer,) * config.layers} | {n: leaf(n, shape, placed[n]) for n, shape in ends.items()}


def bytes_per_chip(tree: Any) -> float:
    """Bytes of one chip's shards."""
    return sum(
        x.dtype.itemsize * float(jnp.prod(jnp.array(x.sharding.shard_shape(x.shape)))) for x in jax.tree.leaves(tree)
    )


def hbm_bytes(text: str) -> float:
    """Bytes that the instructions of a compiled program move from and to HBM, every loop body taken once.

    An array whose layout names a memory space, S(n), is on the chip. Slices, gathers and updates in place touch their
    small side only; bodies of fusions do not touch memory.
    """
    total = 0.0
    for block in re.split(r"\n(?=\S)", text):
        if re.match(r"%?(fused_computation|bitcast_fusion)", block):
            continue
        types: dict[str, str] = {}
        for line in block.splitlines()[1:]:
            found = re.match(r"\s*(?:ROOT )?(%?[\w.-]+) = (\(.*?\)|\S+) ([\w-]+)\((.*?)\)", line)
            if not found:
                continue
            name, kind, op, operands = found.groups()
            types[name] = kind
            if op in NO_TRAFFIC or op.endswith("-done"):
                continue
            sizes = [hbm_size(types.get(operand.split()[-1], "")) for operand in operands.split(",") if operand.strip()]
            total += traffic(op, name, hbm_size(kind), sizes, kind)
    return total


def traffic(op: str, name: str, out: float, operands: list[float], kind: str) -> float:
    """Bytes one instruction moves, given the HBM sizes of its result and operands."""
    if op in ("slice-start", "copy-start", "async-start"):
        moved = re.findall(r"\w+\[[\d,]*\]\{[^}]*\}", kind)
        return min((all_size(array) for array in moved), default=0.0)
    if op == "dynamic-update-slice":
        return 2 * sum(operands[1:])
    if "gather" in op + name:
        return out
    return out + sum(operands)


def hbm_size(kind: str) -> float:
    """Bytes of the arrays of a type that lie in HBM."""
    arrays = re.findall(r"\w+\[[\d,]*\](?:\{[^}]*\})?", kind)
    return sum(all_size(array) for array in arrays if not re.search(r"S\(\d+\)", array))


def all_size(array: str) -> float:
    """Bytes of one array type."""
    found = re.match(r"(\w+)\[([\d,]*)\]", array)
    if not found or found[1] not in WIDTHS:
        return 0.0
    size = float(WIDTHS[found[1]])
    for dimension in filter(None, found[2].split(",")):
        size *= int(dimension)
    return size


def main() -> None:
    """Prints one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--topology", default="v6e:8x8")
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--layers", type=int, default=36)
    parser.add_argument("--length", type=int, default=4352)
    parser.add_argument("--default-options", action="store_true", help="compile as a run does")
    args = parser.parse_args()
    jax.config.update("jax_platforms", "cpu")
    options = {} if args.default_options else COUNTING
    chunk = compile_chunk(qwen3_8b(args.layers), args.topology, rows=args.rows, length=args.length, options=options)
    least = chunk.weights + chunk.cache
    print(f"{args.topology}, {args.layers} layers, {args.rows} rows x {args.length}; GiB per chip")
    print(
        f"weights read {chunk.weights / GIB:.2f}, cache {chunk.cache / GIB:.2f}, arguments {chunk.arguments / GIB:.2f}"
    )
    print(f"temporary {chunk.temporary / GIB:.3f} = {chunk.temporary / chunk.cache:.3f} of the cache")
    print(f"donated {chunk.aliased / chunk.cache:.3f} of the cache")
    print(f"HBM bytes of a step      {chunk.hbm / GIB:.2f} = {chunk.hbm / least:.2f} x (weights + cache)")
    print(f"XLA's bytes accessed     {chunk.accessed / GIB:.2f} = {chunk.accessed / least:.2f} x (weights + cache)")


if __name__ == "__main__":
    main()

"""The programs of a step, ready to be compiled for a slice, with what else is resident on a chip meanwhile."""

import os
from dataclasses import dataclass, replace
from typing import Any, cast

import jax
import numpy as np

from hsd_jax.config import Config
from hsd_jax.data.batches import Questions
from hsd_jax.methods import row
from hsd_jax.planning import aot
from hsd_jax.planning.abstract_args import (
    abstract,
    bytes_per_chip,
    decode_params_of,
    model_of,
    state_of,
    texts_of,
    update_args,
)
from hsd_jax.planning.chips import Topology, set_flags
from hsd_jax.planning.jaxpr_cost import jaxpr_of, largest, products
from hsd_jax.planning.measured import Stage
from hsd_jax.planning.workload import Workload, planned_rows
from hsd_jax.sampler import decode, decode_sharding, kv_cache
from hsd_jax.sampler.state import ChunkLimits, empty_entry
from hsd_jax.setup.components import RunComponents, assemble
from hsd_jax.setup.run_config import run_config
from hsd_jax.types import Padded, PyTree
from hsd_jax.update.compiled import update_for


def components_for(topology: Topology, config: Config) -> RunComponents:
    """A run's parts on the slice. Raises: InputError for settings that do not divide over it."""
    # the compiler, used ahead of time, takes no program that leaves whole slices out; one slice has the same hosts
    host = aot.one_host(aot.devices(replace(topology, slices=1)))
    return components_on(config, aot.devices(topology), host)


def components_on(config: Config, devices: list[Any], host: list[Any]) -> RunComponents:
    """A run's parts for devices that are not there (`host`: those of one process): no weights, tokenizer, questions."""
    processes, none = len(devices) // len(host), cast(Any, ())
    run = run_config(config, model_of, processes=processes, devices=devices)
    further = row.further_texts(run.method)
    texts, questions = texts_of(config, run.model, further), Questions(none, {}, ())
    return assemble(run, texts, questions, processes=processes, host=host)


def stage_of(config: Config, topology: Topology, work: Workload, name: str) -> Stage:
    """One program of a step on the slice, by its name; this process then compiles with the flags of its chip."""
    set_flags(os.environ, topology.chip)
    return next(stage for stage in stages_of(components_for(topology, config), work) if stage.name == name)


def stages_of(parts: RunComponents, work: Workload) -> list[Stage]:
    """All programs of a step, in the order in which they run; the update with rows that hold the assumed texts."""
    state = state_of(parts.run, parts.step.settings.optimizer)
    beside = {"training state": bytes_per_chip(state)}
    return [cast_stage(parts, state), *sampler_stages(parts, beside), update_stage(parts, work)]


def update_stage(parts: RunComponents, work: Workload) -> Stage:
    """Teacher, student and reference scoring, loss, gradient, AdamW: one program."""
    args, chips = update_args(parts), parts.run.mesh.size
    sizes = planned_rows(parts.step.layout, work, parts.run.config.data.context_tokens).sizes
    program = update_for(parts.step, sizes)
    return Stage(
        name="update",
        lower=lambda: program.lower(*args),  # type: ignore[attr-defined]
        flops=lambda: products(jaxpr_of(program, *args)) / chips,
        largest=lambda: largest(jaxpr_of(program, *args)),
        resident={},
    )


def cast_stage(parts: RunComponents, state: PyTree) -> Stage:
    """The policy's weights in decoding's number format, before they move to decoding's places."""
    params, sampler = state.policy, parts.sampler
    fixed = {"config": parts.run.model, "dtype": sampler.program.dtype, "scale": sampler.scale}
    rest = {"rest of the training state": bytes_per_chip(state) - bytes_per_chip(params)}
    moved = {"weights in their new places": bytes_per_chip(decode_params_of(parts))}
    return Stage(
        name="weights",
        lower=lambda: decode_sharding.per_layer.lower(params, **fixed),
        flops=lambda: 0.0,
        largest=lambda: largest(jaxpr_of(lambda p: decode_sharding.per_layer(p, **fixed), params)),
        resident=rest | moved,
    )


@dataclass(frozen=True)
class SamplerArgs:
    """The arrays of the sampler at its largest cache, on one host."""

    params: PyTree
    prompts: Padded
    cache: PyTree
    slots: PyTree
    read: PyTree
    entry: PyTree
    choice: PyTree
    key: Any
    count: Any


def sampler_args(parts: RunComponents) -> SamplerArgs:
    """Shapes and places of everything that the sampler's programs take."""
    program, params = parts.sampler.program, decode_params_of(parts)
    layout = program.layout

    def whole(*shape: int, dtype: Any = np.int32) -> Any:
        return jax.ShapeDtypeStruct(shape, dtype, sharding=layout.sharding())

    def over_heads(tree: PyTree, rows: str | None) -> PyTree:
        return abstract(tree, lambda x: layout.sharding(rows, "K", None, None))

    slots, length = program.shapes[-1]
    cache, board = jax.eval_shape(lambda: kv_cache.empty_cache(program=program, rows=slots, length=length))
    prompts = Padded(whole(program.prefill_batch, program.prompt_window), whole(program.prefill_batch))
    read = jax.eval_shape(lambda w, p: decode.prefill(program, w, p), params, prompts)
    return SamplerArgs(
        params=params,
        prompts=prompts,
        cache=over_heads(cache, "B"),
        slots=abstract(board, lambda x: layout.sharding(*"B"[: len(x.shape)])),
        read=over_heads(read, None),
        entry=abstract(empty_entry(slots), lambda x: layout.sharding()),
        choice=abstract(parts.sampler.choice, lambda x: layout.sharding()),
        key=whole(dtype=jax.eval_shape(lambda: jax.random.key(0)).dtype),
        count=whole(),
    )


def sampler_stages(parts: RunComponents, beside: dict[str, int]) -> list[Stage]:
    """Prefill, entering the cache, and decoding, on one host's chips."""
    b, program = sampler_args(parts), parts.sampler.program
    chips = program.mesh.size if program.mesh else 1
    caches, weights = {"cache": bytes_per_chip(b.cache)}, {"weights for decoding": bytes_per_chip(b.params)}

    def stage(name: str, function: Any, args: tuple[Any, ...], also: dict[str, int]) -> Stage:
        def inside(*arrays: Any) -> Any:
            return function(program, *arrays)

        return Stage(
            name=name,
            lower=lambda: function.lower(program, *args),
            flops=lambda: products(jaxpr_of(inside, *args)) / chips,
            largest=lambda: largest(jaxpr_of(inside, *args)),
            resident=beside | also,
            cache=bytes_per_chip(b.cache),
        )

    decode_args = (b.params, b.cache, b.slots, b.choice, b.key, ChunkLimits(b.count, b.count))
    return [
        stage("prefill", decode.prefill, (b.params, b.prompts), caches),
        stage("enter", kv_cache.insert_prompts, (b.cache, b.slots, b.read, b.entry), weights),
        stage("decode", decode.decode, decode_args, {"prompts read ahead": bytes_per_chip(b.read)}),
    ]

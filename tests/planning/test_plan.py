"""The plan command: what it compiles, when it says that something fits, what it advises, how it refuses input."""

import dataclasses
import importlib.util
import io
import json
import multiprocessing
import re
import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from rich.console import Console

from hsd_jax import plan
from hsd_jax.config import Config, Data, Method, Model, Optimizer, Sampling, load
from hsd_jax.config import Mesh as MeshSizes
from hsd_jax.errors import InputError
from hsd_jax.planning import abstract_args, aot, stages, tables
from hsd_jax.planning.advice import advice, slots_that_fit, with_setting
from hsd_jax.planning.chips import GIB, Topology, parse_topology
from hsd_jax.planning.compile import Started, _result, measure
from hsd_jax.planning.measured import NAMES, Measured, fits
from hsd_jax.planning.stages import components_for, stage_of
from hsd_jax.planning.verdict import as_json, make_plan
from hsd_jax.planning.workload import DrawnRows, workload
from hsd_jax.sampler.decode_sharding import decode_mesh
from hsd_jax.setup import build, components
from hsd_jax.setup.method_overrides import resolve
from models import sharding
from tests.support.paths import ROOT

TINY = str(ROOT / "configs" / "tiny.py")
V5E, V5P = parse_topology("v5e:8x8"), parse_topology("v5p:4x4x4")
BIG = Config(
    model=Model(path="weights/Qwen3-8B-Base"),
    sampling=Sampling(tensor=4),
    optimizer=Optimizer(micro_batches=1, loss_chunk=1024),
)
ROWS = DrawnRows(30, 7, 0.4, 1.5, 2.0)
needs_libtpu = pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="needs libtpu")


def measured(stage: str, gib: float, beside: dict[str, float] | None = None, *, cache: float = 0) -> Measured:
    in_bytes = {name: int(size * GIB) for name, size in (beside or {}).items()}
    program = int(gib * GIB)
    return Measured(
        stage,
        program,
        program + sum(in_bytes.values()),
        in_bytes,
        cache=int(cache * GIB),
        memory={"arguments": 0, "temporary": 0, "outputs": 0, "aliased": 0, "host": 0},
    )


def measured_on(topology: Topology, config: Config, program: str) -> Measured:
    """A program compiled for the slice, at the texts that a plan assumes."""
    work = workload(config, resolve(config.method), mean=0, prompt=0)
    return measure(partial(stage_of, config, topology, work), program)


def test_what_lies_beside_a_program_counts() -> None:
    assert fits(measured("decode", 15.4), V5E)
    assert not fits(measured("decode", 15.4, {"training state": 1.7}), V5E)
    assert fits(measured("decode", 15.4, {"training state": 1.7}), V5P)
    assert not fits(dataclasses.replace(measured("update", 1.0), fault="the compiler crashed"), V5P)
    assert not fits(dataclasses.replace(measured("update", 1.0), out_of_memory=True), V5P)


def test_advice_for_the_update_names_the_next_split_that_divides() -> None:
    first, second, third, last = advice(BIG, V5P, measured("update", 200))
    assert first.startswith("--optimizer.micro-batches 2:")
    assert second.startswith("--model.remat offload")
    assert third.startswith("--optimizer.loss-chunk 512")
    assert "larger slice" in last
    split = with_setting(BIG, "optimizer.micro-batches", "2")
    assert not any("micro-batches" in change for change in advice(split, V5P, measured("update", 200)))


def test_advice_for_the_sampler_names_the_slots_that_fit() -> None:
    """64 rows a host take 11.25 GiB; beside 1.67 + 3.82 + 0.66 GiB only 53 of them fit into 15.5 GiB."""
    found = measured("decode", 15.59, {"training state": 1.67, "prompts": 0.14}, cache=11.25)
    assert slots_that_fit(BIG, V5E, found) == 53
    assert advice(BIG, V5E, found)[0].startswith("--sampling.slots 53:")
    assert slots_that_fit(BIG, V5P, found) == 0, "nothing to lower where it fits"
    assert slots_that_fit(BIG, V5E, measured("decode", 40, cache=2)) == 0, "not one row fits"


def test_settings_change_by_their_dotted_name_and_keep_their_type() -> None:
    assert with_setting(BIG, "optimizer.micro-batches", "4").optimizer.micro_batches == 4
    assert with_setting(BIG, "model.remat", "offload").model.remat == "offload"
    assert with_setting(BIG, "steps", "7").steps == 7
    assert with_setting(BIG, "method.teacher", "ema").method.teacher == "ema"
    assert with_setting(BIG, "method.fallback", "false").method.fallback is False
    for name, value in [("optimizer.microbatches", "4"), ("optimizer", "4"), ("steps.x", "1"), ("steps", "many")] + [
        ("model.remat", "some"),
        ("model.thinking", "1"),
        ("method.teacher", "dead"),
    ]:
        with pytest.raises(InputError, match="--sweep"):
            with_setting(BIG, name, value)


def test_a_sweep_is_every_combination() -> None:
    found = plan.variants(BIG, ["optimizer.micro-batches=1,2", "sampling.slots=16,32"])
    assert [(c.optimizer.micro_batches, c.sampling.slots) for _, c in found] == [(1, 16), (1, 32), (2, 16), (2, 32)]
    assert found[3][0] == "optimizer.micro-batches=2 sampling.slots=32"
    with pytest.raises(InputError, match="name=value"):
        plan.variants(BIG, ["sampling.slots"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config", TINY, "--topology", "v5p-128"], "as a topology it is v5p:4x4x4"),
        (["--config", TINY, "--topology", "v5e:8x8", "--programs", "updates"], "no such program"),
        (["--config", TINY, "--topology", "v5e:8x8", "--method.gate", "x"], "^invalid choice 'x' for argument"),
        (["--config", TINY, "--topology", "v5e:8x8", "--sweep", "slots=1"], "no such setting"),
        (["--config", "configs/absent.py", "--topology", "v5e:8x8"], "no file"),
        (["--config", TINY, "--topology", "v5e:8x8", "--sampling.slotz", "4"], "valid one is --sampling.slots"),
    ],
)
def test_bad_input_is_refused_before_anything_compiles(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aot, "require_libtpu", lambda: None)
    monkeypatch.setattr(plan, "measure_all", lambda *given: pytest.fail("compiled"))
    with pytest.raises(InputError, match=message):
        plan.main(arguments)


def test_released_models_are_known_by_name_and_others_refused() -> None:
    model = abstract_args.model_of("gs://somewhere/Qwen3-32B")
    assert (model.layers, model.width, model.mlp_width, model.heads, model.tied) == (64, 5120, 25_600, 64, False)
    assert abstract_args.model_of("Qwen3-0.6B-Base").tied
    assert abstract_args.model_of(str(ROOT / "assets" / "tiny_qwen3")).layers < 10
    with pytest.raises(InputError, match="holds no config.json"):
        abstract_args.model_of("Llama-3")


def test_the_planned_state_is_the_state_of_a_run() -> None:
    """The same arrays, dtypes and places as `setup.initial_state` makes: plans and runs cannot drift apart."""
    config = load(TINY)
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, path=str(ROOT / config.model.path)))
    parts = build.build_components(config)
    start = parts.run, parts.step.settings.optimizer
    real, planned = components.initial_state(*start), abstract_args.state_of(*start)
    assert jax.tree.structure(real) == jax.tree.structure(planned)

    def same(x: jax.Array, y: jax.ShapeDtypeStruct) -> None:
        assert (x.shape, x.dtype) == (y.shape, y.dtype)
        assert x.sharding.is_equivalent_to(y.sharding, x.ndim)

    jax.tree.map(same, real, planned)
    ours = sum(x.addressable_shards[0].data.nbytes for x in jax.tree.leaves(real))
    assert abstract_args.bytes_per_chip(planned) == ours


def test_the_outcome_names_the_verdict_seconds_and_checkpoint() -> None:
    found = [measured("decode", 15.59, {"training state": 1.67}, cache=11.25), measured("update", 9)]
    work = workload(BIG, resolve(BIG.method), mean=1536, prompt=256)
    made = make_plan("c.py", BIG, V5E, found, ROWS, work)
    content = json.loads(json.dumps(as_json(made)))
    assert content["fits"] is False and [p["fits"] for p in content["programs"]] == [False, True]
    assert set(content["advice"]) == {"decode"}
    assert content["accelerator"] == "v5litepod-64" and content["checkpoint_bytes"] == 8_190_427_136 * 12
    moving = dataclasses.replace(BIG, method=Method(name="sdpo"))
    assert make_plan("c.py", moving, V5E, found, ROWS, work).checkpoint_bytes == 8_190_427_136 * 16, "its teacher moves"
    assert content["seconds_per_step"]["ideal"] == pytest.approx(35.3, rel=0.02)
    assert any("0.40 of the places are tokens, 1.50 times" in line for line in content["assumptions"])
    wide = [dataclasses.replace(found[1], cycles=15e9)]
    taken = {phase.name: phase.expected for phase in make_plan("c.py", BIG, V5E, wide, ROWS, work).phases}
    assert taken["score, differentiate, update"] == 15.0, "10 s as compiled, in rows 1.5 times as wide"
    assert make_plan("c.py", BIG, V5P, found, ROWS, work).fits


@pytest.mark.parametrize(
    ("words", "fault"),
    [("", "this machine has too little memory"), ("F1 u.cc:7] Check failed: a", "u.cc:7] Check failed: a")],
)
def test_a_compiler_that_ends_without_an_answer_is_told_from_a_program_that_does_not_fit(
    words: str, fault: str
) -> None:
    said = io.BytesIO(words.encode())
    answer, other_end = multiprocessing.Pipe(duplex=False)
    other_end.close()
    ended = _result(Started(answer, SimpleNamespace(join=lambda: None), said, 0.0), "update")
    assert fault in ended.fault and said.closed
    small, large = measured("decode", 1), measured("decode", 200)
    work = workload(BIG, resolve(BIG.method), mean=1536, prompt=256)
    assert (unknown := make_plan("c.py", BIG, V5E, [small, ended], ROWS, work)).unknown and not unknown.fits
    assert not make_plan("c.py", BIG, V5E, [large, ended], ROWS, work).unknown
    console = Console(record=True, width=200, file=io.StringIO())
    tables.show(unknown, console)
    assert "not known: a program did not compile" in (shown := console.export_text()) and fault in shown


@needs_libtpu
@pytest.mark.aot
@pytest.mark.parametrize("family", ["v5e:2x2", "v5p:2x2x1", "v6e:2x2"])
def test_verdicts_agree_with_the_compiler(family: str) -> None:
    """A program a little below the chip's memory compiles and is measured; one a little above is refused by both."""
    topology = parse_topology(family)
    mesh = Mesh(np.array(aot.devices(topology)), ("x",))

    def needs(gib: float) -> Measured:
        rows = int(gib * GIB) // (2048 * 4) * topology.chips
        x = jax.ShapeDtypeStruct((rows, 2048), jnp.float32, sharding=NamedSharding(mesh, P("x")))
        compiled = aot.compile_for_tpu(jax.jit(lambda x: x + 1, donate_argnums=0).lower(x))
        return Measured("x", compiled.needed, compiled.needed, {}, out_of_memory=compiled.memory is None)

    small, large = needs(topology.chip.usable_gib - 1), needs(topology.chip.usable_gib + 1)
    assert fits(small, topology) and small.total / GIB == pytest.approx(topology.chip.usable_gib - 1, rel=0.01)
    assert large.out_of_memory and not fits(large, topology)
    assert large.total / GIB == pytest.approx(topology.chip.usable_gib + 1, rel=0.05)


# Tokens of a response of which 512 are decoded at once on a host of four chips: the caches take 12.0 and 16.5 GiB of a
# v5e's 15.75, 24.0 and 33.0 of a v6e's 31.25, 72.0 and 99.1 of a v5p's 95.74.
DECODED = {"v5e:2x2": (131_072, 180_224), "v6e:2x2": (262_144, 360_448), "v5p:2x2x1": (786_432, 1_081_344)}


@needs_libtpu
@pytest.mark.aot
@pytest.mark.parametrize("family", DECODED)
def test_verdicts_on_decoding_agree_with_the_compiler(family: str, tmp_path: Path) -> None:
    """What the plan says fits is compiled; where it says no, the compiler itself ran out of memory, as computed."""
    topology, config = parse_topology(family), load(TINY)
    shutil.copytree(ROOT / config.model.path, tmp_path / "model")
    described = json.loads((tmp_path / "model" / "config.json").read_text())
    (tmp_path / "model" / "config.json").write_text(json.dumps(described | {"max_position_embeddings": 2**21}))

    def decode(tokens: int) -> Measured:
        larger = dataclasses.replace(
            config,
            model=dataclasses.replace(config.model, path=str(tmp_path / "model")),
            data=dataclasses.replace(config.data, problems_per_step=64),
            sampling=dataclasses.replace(config.sampling, response_tokens=tokens, dtype="bfloat16"),
        )
        return measured_on(topology, larger, "decode")

    small, large = map(decode, DECODED[family])
    assert fits(small, topology) and small.cache < small.memory["arguments"] < small.total
    assert not fits(large, topology) and large.out_of_memory
    assert large.cache > topology.chip.usable_gib * GIB and large.program == pytest.approx(large.cache, rel=0.1)


@needs_libtpu
@pytest.mark.aot
@pytest.mark.parametrize("slice_name", ["v5e:8x8", "v6e:8x8", "v5p:4x4x4", "v6e:2x4", "2*v5e:4x4"])
def test_every_process_decodes_on_its_own_neighboring_chips(slice_name: str) -> None:
    """Each host's mesh is its own block of chips, pairs of a tensor group side by side, and `spread` continues it."""
    topology = parse_topology(slice_name)
    devices = aot.devices(topology)
    hosts = {d.process_index: [e for e in devices if e.process_index == d.process_index] for d in devices}
    assert len(hosts) == topology.hosts and {len(own) for own in hosts.values()} == {topology.chips_per_host}
    for own in hosts.values():
        coords = np.array([d.coords for d in own])
        assert tuple(coords.max(0) - coords.min(0) + 1) == topology.host_shape, "a block without gaps"
        for tensor in (2, 4):
            groups = decode_mesh(tensor=tensor, devices=own[::-1]).devices
            assert {d for group in groups for d in group} == set(own)
            first, second = np.array([[d.coords for d in group[:2]] for group in groups]).swapaxes(0, 1)
            assert (np.abs(first - second).sum(1) == 1).all(), "one step apart on the interconnect"
    assert {d.process_index for d in aot.one_host(devices)} == {topology.hosts - 1}


@needs_libtpu
@pytest.mark.aot
@pytest.mark.parametrize(
    ("slice_name", "mesh"),
    [
        ("v6e:2x4", MeshSizes(data=2, fsdp=2, tensor=2)),
        ("2*v6e:2x4", MeshSizes(data=2)),
    ],
    ids=str,
)
def test_a_step_compiles_for_every_axis_of_the_mesh(slice_name: str, mesh: MeshSizes) -> None:
    config = load(TINY)
    config = dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, path=str(ROOT / config.model.path)),
        data=dataclasses.replace(config.data, problems_per_step=16),
        optimizer=dataclasses.replace(config.optimizer, layout="packed"),
        mesh=mesh,
    )
    for program in ("decode", "update"):
        found = measured_on(parse_topology(slice_name), config, program)
        assert not found.fault and 0 < found.total < GIB


@needs_libtpu
@pytest.mark.aot
@pytest.mark.parametrize("slice_name", ["v5e:8x8", "v6e:8x8"])
def test_a_program_on_one_host_of_a_slice_needs_what_it_needs_on_that_host_alone(slice_name: str) -> None:
    """With exchanges between its chips; so it does not matter which host a plan compiles the sampler for."""
    whole = aot.devices(parse_topology(slice_name))
    alone = aot.devices(parse_topology(slice_name.replace("8x8", "2x2")))

    def memory(devices: list) -> aot.Memory:  # type: ignore[type-arg]
        mesh = decode_mesh(tensor=4, devices=devices)
        weights = [
            jax.ShapeDtypeStruct((1024, 1024), jnp.bfloat16, sharding=NamedSharding(mesh, spec))
            for spec in (P(None, "tensor"), P("tensor", None))
        ]
        whole_x = jax.ShapeDtypeStruct((64, 1024), jnp.bfloat16, sharding=NamedSharding(mesh, P()))
        compiled = aot.compile_for_tpu(jax.jit(lambda x, up, down: x + (x @ up) @ down).lower(whole_x, *weights))
        assert "all-reduce" in compiled.text and compiled.memory is not None
        return dataclasses.replace(compiled.memory, code=0)

    assert memory(aot.one_host(whole)) == memory(alone)


@needs_libtpu
@pytest.mark.aot
def test_the_command_compiles_reports_and_exits_by_the_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    output = tmp_path / "plan.json"
    given = ["--config", TINY, "--topology", "v5e:2x2", "--programs", "prefill", "--json", str(output)]
    assert plan.main(given) == 0
    (content,) = json.loads(output.read_text())
    (program,) = content["programs"]
    assert program["fits"] and program["flops"] > 0 and 0 < program["total"] < GIB
    shown = " ".join((lines := capsys.readouterr().out).split())  # the screen breaks lines where paths are long
    assert "v5litepod-4: 4 chips, 1 hosts" in shown and "expected" in shown and "\nfits" in lines
    too_much = ["--model.path", "weights/Qwen3-32B", "--programs", "weights"]
    assert plan.main(["--config", TINY, "--topology", "v5e:2x2", *too_much]) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "does not fit" in shown and "take a larger slice" in shown


SHIPPED = sorted(path for path in (ROOT / "configs").glob("hsd_qwen3_*.py"))


@needs_libtpu
@pytest.mark.aot
@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_configs_divide_over_their_slice_and_hold_state_weights_and_cache(path: Path) -> None:
    """Without compiling: the config names its slice, and what lies on a chip while decoding leaves room."""
    text, config = path.read_text(), load(path)
    topology = parse_topology(re.search(r"--topology (\S+)", text)[1])  # type: ignore[index]
    assert "Not yet run" in text and f"{topology.chips} chips" in text
    assert config.data.problems_per_step == 128 and config.sampling.group_size == 8 and config.method.name == "hsd"
    parts = components_for(topology, config)
    state = abstract_args.state_of(parts.run, parts.step.settings.optimizer)
    board = stages.sampler_args(parts)
    resident = sum(map(abstract_args.bytes_per_chip, (state, board.params, board.cache, board.read)))
    assert resident < (topology.chip.usable_gib - 0.9) * GIB


def test_every_program_of_a_step_is_planned() -> None:
    """Traced, not compiled: names, settings to turn, and operations that grow as they must."""
    config = dataclasses.replace(
        BIG, model=Model(path=str(ROOT / "assets" / "tiny_qwen3")), sampling=Sampling(response_tokens=64, chunk=8),
        data=Data(problems_per_step=16, prompt_tokens=96, answer_tokens=32, context_tokens=320),
    )  # fmt: skip
    devices = jax.devices()
    parts = stages.components_on(config, devices, devices[:4])
    assert sharding.batch_sharding(parts.run.mesh).mesh.size == len(devices)
    found = stages.stages_of(parts, workload(config, resolve(config.method), mean=0, prompt=0))
    assert tuple(stage.name for stage in found) == NAMES
    decode, update = found[3], found[4]
    assert decode.flops() > 0 and update.flops() > decode.flops()
    assert decode.resident["training state"] == abstract_args.bytes_per_chip(
        abstract_args.state_of(parts.run, parts.step.settings.optimizer)
    )

"""The sampler as a whole: equal to the scorer and to transformers, the same whatever the shapes, never recompiling."""

import dataclasses
from collections import defaultdict

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import monitoring

from hsd_jax.errors import InputError
from hsd_jax.sampler.sampler import (
    Capacity,
    Requests,
    decode_mesh,
    decode_params,
    make_sampler_config,
    sample,
    sampling_params,
)
from hsd_jax.types import Padded
from models import hf, qwen3
from models.sharding import make_mesh, param_shardings
from tests.support.random_qwen3 import hf_config, hf_weights, write_hf

WINDOW, LIMIT, GROUP, VOCABULARY, PAD = 16, 128, 3, 90, 0
STOPS = (11, 12, 13)
IDS = np.array([5, 2**32 - 1, 77, 123456], np.uint32)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    config = hf_config()
    return write_hf(tmp_path_factory.mktemp("qwen3"), config, hf_weights(config))


@pytest.fixture(scope="module")
def model(checkpoint):
    model = hf.load(checkpoint)
    return model.config, qwen3.params_of(model)


@pytest.fixture(scope="module")
def program(model):
    return make_sampler_config(model[0], Capacity(WINDOW, LIMIT, slots=8, chunk=16), vocabulary=VOCABULARY, pad_id=PAD)


@pytest.fixture(scope="module")
def weights(model, program):
    return decode_params(model[1], config=model[0], dtype=program.dtype)


@pytest.fixture(scope="module")
def prompts():
    rng = np.random.default_rng(1)
    return Padded(rng.integers(14, VOCABULARY, (4, WINDOW)).astype(np.int32), np.array([1, 5, WINDOW, 9], np.int32))


def run(program, weights, prompts, *, ids=IDS, key=None, limits=(30, 128, 7, 60), group=GROUP, repeat=0, **rest):
    chosen = rest.pop("chosen", sampling_params(temperature=1.1, top_p=0.95, stop_ids=STOPS))
    return sample(
        program,
        weights,
        Requests(prompts, ids, np.asarray(limits, np.int32), group, repeat),
        chosen,
        jax.random.key(0) if key is None else key,
        **rest,
    ).rollouts


def take(prompts, rows):
    return Padded(prompts.tokens[rows], prompts.length[rows])


def assert_same(a, b):
    """Equal rollouts; log-probabilities up to the rounding of another program."""
    for field in ("response_PGT", "length_PG", "finished_PG"):
        np.testing.assert_array_equal(getattr(a, field), getattr(b, field), err_msg=field)
    np.testing.assert_allclose(a.logprob_PGT, b.logprob_PGT, atol=1e-4)


@pytest.fixture(scope="module")
def rollouts(program, weights, prompts):
    return run(program, weights, prompts)


def test_logprobs_equal_those_of_one_forward_pass(model, prompts, rollouts):
    config, params = model
    length_PG = rollouts.length_PG
    rows = np.zeros((4 * GROUP, WINDOW + LIMIT), np.int32)
    valid = np.zeros(rows.shape, bool)
    for i, (p, g) in enumerate(np.ndindex(4, GROUP)):
        n, t = prompts.length[p], length_PG[p, g]
        rows[i, : n + t] = np.concatenate([prompts.tokens[p, :n], rollouts.response_PGT[p, g, :t]])
        valid[i, : n + t] = True
    hidden = jax.jit(qwen3.forward, static_argnums=0)(config, params, rows, valid)
    logprob = np.asarray(jax.nn.log_softmax(qwen3.logits(params, hidden)))
    for i, (p, g) in enumerate(np.ndindex(4, GROUP)):
        n, t = prompts.length[p], length_PG[p, g]
        expected = logprob[i, np.arange(n - 1, n + t - 1), rows[i, n : n + t]]
        np.testing.assert_allclose(rollouts.logprob_PGT[p, g, :t], expected, atol=1e-4)


def test_stops_limits_pads_and_vocabulary(rollouts):
    limits, ended = (30, 128, 7, 60), set()
    for p, g in np.ndindex(4, GROUP):
        t, ids = rollouts.length_PG[p, g], rollouts.response_PGT[p, g]
        assert 1 <= t <= limits[p] and (ids[t:] == PAD).all() and ids.max() < VOCABULARY
        assert not set(ids[: t - 1].tolist()) & set(STOPS)
        stopped = int(ids[t - 1]) in STOPS
        assert rollouts.finished_PG[p, g] == stopped and (stopped or t == limits[p])
        ended |= {int(ids[t - 1])} if stopped else set()
    assert len(ended) > 1
    assert len({tuple(ids[:5]) for ids in rollouts.response_PGT[1]}) == GROUP


def test_order_of_problems_and_company_do_not_matter(program, weights, prompts, rollouts):
    order = np.array([2, 0, 3, 1])
    shuffled = run(program, weights, take(prompts, order), ids=IDS[order], limits=np.array([30, 128, 7, 60])[order])
    assert_same(shuffled, jax.tree.map(lambda x: x[order], rollouts))
    alone = run(program, weights, take(prompts, [1]), ids=IDS[[1]], limits=[128], group=2)
    assert_same(alone, jax.tree.map(lambda x: x[[1], :2], rollouts))


def test_shapes_chunks_and_refills_do_not_matter(program, weights, prompts, rollouts):
    shapes = ((1, 144), (3, 32), (3, 144))  # rings that wrap, grow, shrink, and lose slots
    other = dataclasses.replace(program, shapes=shapes, chunk=8, prefill_batch=2)
    assert_same(run(other, weights, prompts), rollouts)


def test_mesh_and_weight_layout_do_not_matter(model, program, prompts, rollouts):
    mesh = decode_mesh(tensor=2)
    other = dataclasses.replace(program, mesh=mesh, shapes=((8, 144),), prefill_batch=4)
    weights = decode_params(model[1], config=model[0], dtype="float32", mesh=mesh)
    assert weights["layers"][0]["q_LDNH"].sharding.spec == jax.sharding.PartitionSpec(None, "tensor", None)
    assert_same(run(other, weights, prompts), rollouts)


@pytest.mark.parametrize("axes", [(1, 8, 1), (2, 4, 1)])
def test_weights_move_to_the_decoder_without_the_host(model, axes, monkeypatch):
    """On a CPU the transfer guard does not see JAX read a buffer of its own, so the reading itself is watched."""
    trained = jax.device_put(model[1], param_shardings(model[0], make_mesh(*axes)))
    wanted = decode_params(model[1], config=model[0], dtype="float32")
    read = []
    kind = type(trained["embed_VD"])
    value = kind._value
    monkeypatch.setattr(kind, "_value", property(lambda x: read.append(x.shape) or value.fget(x)))
    made = decode_params(trained, config=model[0], dtype="float32", mesh=decode_mesh(tensor=2))
    jax.block_until_ready(made)
    assert read == []
    jax.tree.map(np.testing.assert_array_equal, made, wanted)
    assert read, "the comparison reads, and is seen"


def test_nothing_compiles_and_nothing_moves_unasked_after_the_first_call(program, weights, prompts, rollouts):
    compiled, rng = [], np.random.default_rng(0)

    def listen(name, seconds, **_):
        compiled.extend([name] if "backend_compile" in name else [])

    monitoring.register_event_duration_secs_listener(listen)
    try:
        keys = [jax.random.key(call) for call in range(20)]
        compiled.clear()
        with jax.transfer_guard("disallow"):
            for call, key in enumerate(keys):
                chosen = sampling_params(
                    temperature=call % 4 / 2,
                    top_p=(1, 0.95, 0.5)[call % 3],
                    top_k=call % 5,
                    stop_ids=rng.integers(1, VOCABULARY, call % 6),
                )
                varied = Padded(prompts.tokens, rng.integers(1, WINDOW + 1, 4))
                limits = rng.integers(1, (4, 40, LIMIT)[call % 3] + 1, 4)
                run(program, weights, varied, key=key, limits=limits, chosen=chosen, group=1 + call % 4)
    finally:
        monitoring.unregister_event_duration_listener(listen)
    assert compiled == []


def test_finished_rollouts_are_handed_over_while_others_run(program, weights, prompts, rollouts):
    taken = defaultdict(list)
    order = []

    def keep(problem, rollout, ids):
        taken[problem, rollout].append(ids)
        order.append((problem, rollout))

    assert_same(run(program, weights, prompts, on_finished=keep), rollouts)
    assert sorted(taken) == list(np.ndindex(4, GROUP))
    for (p, g), (ids,) in taken.items():
        np.testing.assert_array_equal(ids, rollouts.response_PGT[p, g, : rollouts.length_PG[p, g]])
    assert rollouts.length_PG[order[0]] < rollouts.length_PG[order[-1]]


def test_a_question_that_stands_twice_in_a_batch_gets_other_rollouts(program, weights, prompts):
    twice = run(program, weights, take(prompts, [1, 1]), ids=IDS[[1, 1]], limits=[20, 20], group=2)
    four = run(program, weights, take(prompts, [1]), ids=IDS[[1]], limits=[20], group=4)
    np.testing.assert_array_equal(twice.response_PGT.reshape(four.response_PGT.shape), four.response_PGT)
    elsewhere = run(program, weights, take(prompts, [1]), ids=IDS[[1]], limits=[20], group=2, repeat=[1])
    np.testing.assert_array_equal(elsewhere.response_PGT[0], four.response_PGT[0, 2:])


def test_slots_are_kept_busy(program, weights, prompts):
    rng, slots = np.random.default_rng(0), 8
    sigma = np.sqrt(np.log(1 + 0.6**2))
    limits = np.clip(rng.lognormal(np.log(40), sigma, 4 * slots), 1, LIMIT).astype(np.int32)
    many = Padded(np.resize(prompts.tokens, (4 * slots, WINDOW)), np.resize(prompts.length, 4 * slots))
    board = sample(
        program,
        weights,
        Requests(many, np.arange(4 * slots), limits, 1),
        sampling_params(),
        jax.random.key(0),
    )
    np.testing.assert_array_equal(board.rollouts.length_PG[:, 0], limits)
    assert board.used_steps == limits.sum()
    assert board.used_steps / board.slot_steps >= 0.7


@pytest.mark.oracle
def test_greedy_equals_transformers_generate(checkpoint, program, weights, prompts):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    reference = transformers.Qwen3ForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
    ours = run(program, weights, prompts, limits=[LIMIT] * 4, chosen=sampling_params(temperature=0), group=1)
    for p, n in enumerate(prompts.length):
        ids = torch.tensor(prompts.tokens[p : p + 1, :n].astype(np.int64))
        theirs = reference.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=LIMIT, do_sample=False, eos_token_id=None,
            pad_token_id=PAD, suppress_tokens=list(range(VOCABULARY, 97)),
        )  # fmt: skip
        np.testing.assert_array_equal(ours.response_PGT[p, 0], theirs[0, n:].numpy())


def test_logits_that_are_not_finite_end_the_call_by_name(model, program, prompts):
    config, params = model
    broken = params | {"final_norm_D": params["final_norm_D"].at[0].set(jnp.nan)}
    weights = decode_params(broken, config=config, dtype="float32")
    with pytest.raises(RuntimeError, match="problem 0, rollout 0 were not finite at response token 0"):
        run(program, weights, prompts)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"limits": [30, 0, 7, 60]}, "problem 1: limit 0"),
        ({"limits": [30, 1, 7, LIMIT + 1]}, "problem 3: limit 129"),
        ({"group": 0}, "at least one problem and one rollout"),
        ({"ids": IDS[:2]}, "id_P"),
        ({"chosen": sampling_params(stop_ids=[VOCABULARY])}, "stop id"),
    ],
)
def test_impossible_batches_are_refused_by_name(program, weights, prompts, change, words):
    with pytest.raises(InputError, match=words):
        run(program, weights, prompts, **change)


def test_prompts_that_do_not_fit_are_refused_by_name(program, weights, prompts):
    wide = Padded(np.pad(prompts.tokens, ((0, 0), (0, 4)), mode="wrap"), np.array([3, WINDOW, WINDOW + 1, 9]))
    with pytest.raises(InputError, match=f"problem 2: prompt length {WINDOW + 1}"):
        run(program, weights, wide)
    with pytest.raises(InputError, match="problem 0: prompt length 0"):
        run(program, weights, Padded(prompts.tokens, np.zeros(4, np.int32)))
    with pytest.raises(InputError, match="at least one problem"):
        run(program, weights, take(prompts, []), ids=IDS[:0], limits=[])


@pytest.mark.parametrize(
    "change, words",
    [
        ({"slots": 0}, "slots"),
        ({"chunk": 12}, "chunk"),
        ({"vocabulary": 98}, "vocabulary"),
        ({"prompt_window": 0}, "prompt_window"),
        ({"mesh": 2, "slots": 3}, "data axis"),
        ({"mesh": 4}, "key/value heads"),
    ],
)
def test_impossible_programs_are_refused_by_name(model, change, words):
    sizes = {"vocabulary": 90, "prompt_window": 16, "response_window": 8, "slots": 4, "chunk": 64, "mesh": 0} | change
    tensor, vocabulary = sizes.pop("mesh"), sizes.pop("vocabulary")
    mesh = decode_mesh(tensor=tensor) if tensor else None
    with pytest.raises(InputError, match=words):
        make_sampler_config(model[0], Capacity(**sizes), vocabulary=vocabulary, pad_id=0, mesh=mesh)
    with pytest.raises(InputError, match="tensor"):
        decode_mesh(tensor=3)


def test_a_wrapped_attention_acts_on_prompts_and_responses(model, program, prompts):
    """Log-probabilities of rollouts whose values are scaled in one layer are those of a forward pass that does so."""
    config, params = model
    scale_L = jnp.asarray([1.0, 0.3])

    def wrap(weights, attend):
        return lambda q, k, v: attend(q, k, v * weights["scale"])

    other = dataclasses.replace(program, wrap_attend=wrap, shapes=((4, 144),))
    weights = decode_params(params, config=config, dtype=program.dtype)
    weights["layers"] = tuple(w | {"scale": x} for w, x in zip(weights["layers"], scale_L, strict=True))
    got = run(other, weights, prompts, limits=[9] * 4, group=1, chosen=sampling_params(temperature=1.1))
    rows = np.zeros((4, WINDOW + 9), np.int32)
    for p, n in enumerate(prompts.length):
        rows[p, : n + 9] = np.concatenate([prompts.tokens[p, :n], got.response_PGT[p, 0, :9]])

    @jax.jit
    def logprobs(rows):
        plain = qwen3.attend_to_self(qwen3.reference_attention, rows >= 0, rows * 0)
        hooks = qwen3.LayerHooks(lambda scale: lambda q, k, v: plain(q, k, v * scale), scale_L)
        hidden, _ = qwen3.run_layers(config, params, rows, jnp.indices(rows.shape)[1], hooks)
        return jax.nn.log_softmax(qwen3.logits(params, hidden))

    logprob = np.asarray(logprobs(rows))
    for p, n in enumerate(prompts.length):
        expected = logprob[p, np.arange(n - 1, n + 8), rows[p, n : n + 9]]
        np.testing.assert_allclose(got.logprob_PGT[p, 0, :9], expected, atol=1e-4)

"""Whatever the configuration: what must hold of a step's credit, weights, peers, noise and questions. Drawn by seed."""

import itertools
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hsd_jax import advantages, methods
from hsd_jax.data import batches
from hsd_jax.data.problems import Problem
from hsd_jax.methods import METHODS, Method
from hsd_jax.reading.contexts import Chosen
from hsd_jax.reading.peers import DRAWS
from hsd_jax.reading.pieces import PEER, attempts
from hsd_jax.runtime.random_keys import key_of
from hsd_jax.sampler.token_sampling import fold_key
from hsd_jax.scoring.bin_packing import Lengths, Split, pack_problems
from hsd_jax.types import Rollouts
from hsd_jax.update.inputs import build_inputs, choose_peers
from hsd_jax.update.state import StepConfig, TrainState
from hsd_jax.update.step import build_targets, interleave
from tests.support.method_cases import cheap_compilation
from tests.support.step_case import G, P, T, make_case

CONTROL = 60  # an id that a rollout may hold and no peer may


def drawn_method(rng: np.random.Generator, name: str) -> Method:
    """A row with some of its entries replaced."""
    changes: dict[str, Any] = {
        "normalize": rng.choice([advantages.sequence_mean, advantages.token_mean, advantages.constant]),
        "advantage": rng.choice([advantages.standardized, advantages.centered]),
        "shaping": rng.choice([advantages.plain_rewards, advantages.soft_overlong]),
        "mask_truncated": bool(rng.integers(2)),
        "skip_tokens": int(rng.integers(3)),
        "horizon": int(rng.choice([0, 4])),
        "horizon_every": int(rng.choice([0, 2])),
        "minibatches": int(rng.choice([1, 2, 4])),
    }
    return replace(METHODS[name], **{key: changes[key] for key in changes if rng.random() < 0.6})


def drawn_rollouts(rng: np.random.Generator) -> tuple[Rollouts, np.ndarray]:
    """Rollouts of any lengths, and rewards: now and then all equal in a group, some of them no verdict's."""
    length_PG = rng.integers(1, T + 1, (P, G))
    ids_PGT = np.where(np.arange(T) < length_PG[..., None], rng.integers(1, CONTROL + 1, (P, G, T)), 0)
    finished_PG = rng.random((P, G)) < 0.7
    rewards_PG = (rng.random((P, G)) < 0.5) * rng.choice([1.0, 0.3, 1 / 3], (P, 1))
    rewards_PG = np.where(rng.random((P, 1)) < 0.3, rng.choice([0.0, 1.0, 1 / 3]), rewards_PG).astype(np.float32)
    made = Rollouts(*map(jnp.asarray, (ids_PGT, length_PG, finished_PG, np.zeros((P, G, T), np.float32))))
    return made, rewards_PG


def wanted_sum(method: Method, step: int, rollouts: Rollouts) -> float:
    """What the weights of one update sum to, from the words of its normalizer."""
    first = int(np.ceil(method.horizon * T)) if method.horizon < 1 else method.horizon
    reach = (first or T) * (1 + (step // method.horizon_every if method.horizon_every else 0))
    rows = []
    for length, done in zip(np.ravel(rollouts.length_PG), np.ravel(rollouts.finished_PG), strict=True):
        left_out = method.mask_truncated and not done
        rows.append(0 if left_out else max(min(int(length), reach) - method.skip_tokens, 0))
    counted = sum(rows)
    return {
        advantages.sequence_mean: sum(n > 0 for n in rows) / len(rows),  # each rollout's tokens share 1 / N
        advantages.token_mean: float(counted > 0),
        advantages.constant: counted / (len(rows) * T),
    }[method.normalize]


@pytest.mark.parametrize("name", METHODS)
def test_credit_and_weights_of_any_configuration(name: str) -> None:
    for seed in range(2):
        rng = np.random.default_rng([seed, *name.encode()])
        method, step, (rollouts, rewards_PG) = drawn_method(rng, name), int(rng.integers(6)), drawn_rollouts(rng)
        for k, (advantage_PG, weights_PGT) in enumerate(zip(*credit(method, step, rollouts, rewards_PG), strict=True)):
            own_rows = slice(k, None, method.minibatches)
            own, own_rewards_PG = jax.tree.map(lambda x, r=own_rows: np.asarray(x)[r], (rollouts, rewards_PG))
            np.testing.assert_allclose(advantage_PG.sum(axis=1), 0, atol=1e-5)
            assert (advantage_PG[np.ptp(own_rewards_PG, axis=1) == 0] == 0).all()
            assert weights_PGT.min() >= 0
            assert weights_PGT.sum() == pytest.approx(wanted_sum(method, step, own), abs=1e-6)


def credit(method: Method, step: int, rollouts: Rollouts, rewards_PG: np.ndarray) -> list[np.ndarray]:
    """Advantages [P, G] and weights [P, G, T] of every minibatch, as the step sees them; contexts are not made."""
    case, setting = make_case(), StepConfig(method, optax.identity(), 12, 32, 2, 1, 0)
    state = TrainState({}, (), {}, methods.start_memory(method), jnp.asarray(step))

    def one(part: Any) -> tuple[jax.Array, jax.Array]:
        problems, rollouts, rewards_PG = part
        sets = [piece for piece in attempts(methods.pieces(method)) if piece.is_drawn]
        nobody = Chosen({piece: jnp.full((*rewards_PG.shape, piece.count), -1) for piece in sets}, {})
        inputs = build_inputs(setting, case.frame, problems, rollouts, rewards_PG, nobody)
        work = build_targets(setting, state, inputs)
        return work.token.advantage[..., 0], work.weights_PGT

    parts = interleave((case.problems, rollouts, jnp.asarray(rewards_PG)), method.minibatches)
    return [np.asarray(x) for x in jax.jit(jax.vmap(one), compiler_options=cheap_compilation())(parts)]


@pytest.mark.parametrize("draws", DRAWS)
def test_a_peer_is_another_success_without_markup(draws: str) -> None:
    """Nobody where there is none."""
    piece = replace(PEER, draws=draws)
    choose = partial(choose_peers, replace(METHODS["hsd"], views=methods.teacher_reads(piece)), make_case().problems)
    choose = jax.jit(partial(choose, control_ids=(CONTROL,)), compiler_options=cheap_compilation())
    for seed in range(10):
        rollouts, rewards_PG = drawn_rollouts(np.random.default_rng(seed))
        chosen = choose(rollouts=rollouts, rewards_PG=jnp.asarray(rewards_PG), key=jax.random.key(seed))
        assert_peers(np.asarray(chosen.peers[piece][..., 0]), jax.device_get(rollouts), rewards_PG)


def assert_peers(peers_PG: np.ndarray, rollouts: Rollouts, rewards_PG: np.ndarray) -> None:
    for p, i in np.ndindex(P, G):
        text = [np.asarray(rollouts.response_PGT[p, j])[: int(rollouts.length_PG[p, j])].tolist() for j in range(G)]
        text = [ids[:-1] if rollouts.finished_PG[p, j] else ids for j, ids in enumerate(text)]
        fit = [j for j in range(G) if j != i and rewards_PG[p, j] > 0.5 and CONTROL not in text[j]]
        assert peers_PG[p, i] in (fit or [-1])


@pytest.mark.parametrize("seed", range(2))
def test_no_two_rollouts_of_a_step_share_their_noise(seed: int) -> None:
    """Questions that return in a later attempt, rollouts, positions: every token of a step has a key of its own."""
    rng = np.random.default_rng(seed)
    ids, attempts, group = rng.integers(0, 2**32, 3, np.uint32), 3, int(rng.integers(2, 6))
    rows = np.array([*itertools.product(ids, range(group), range(4))], np.uint32).T
    keys = [fold_key(key_of(seed, 5, "sample", a), *map(jnp.asarray, rows)) for a in range(attempts)]
    data = np.concatenate([np.asarray(jax.random.key_data(key)) for key in keys])
    assert len({tuple(row) for row in data.tolist()}) == attempts * rows.shape[1]


@pytest.mark.parametrize("seed", range(3))
def test_any_mixture_is_exact_and_the_same_on_any_number_of_processes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = {"math": int(rng.integers(1, 6)), "code": int(rng.integers(1, 4))}
    sizes = {kind: int(rng.integers(3, 9)) for kind in weights}
    known = {kind: [Problem(f"{kind}{i}", "s", kind, "q", "a") for i in range(sizes[kind])] for kind in weights}
    options = {"problems_per_step": 4 * int(rng.integers(1, 4)), "seed": seed, "weights": weights}
    whole, period = batches.step_batches(known, **options), sum(weights.values())
    rows = [problem for step in range(2) for problem in whole[step] or ()]
    for start in range(len(rows) - period):
        assert sum(row.kind == "math" for row in rows[start : start + period]) == weights["math"]
    count = int(rng.choice([2, 4]))
    parts = [batches.step_batches(known, **options, process_index=k, process_count=count) for k in range(count)]
    assert [row.id for step in range(2) for part in parts for row in part[step] or ()] == [row.id for row in rows]


@pytest.mark.parametrize("seed", range(12))
def test_any_layout_keeps_the_questions_of_a_minibatch_together(seed: int) -> None:
    rng = np.random.default_rng(seed)
    minibatches, parts, rows = (int(rng.choice([1, 2, 4])) for _ in range(3))
    problems = minibatches * parts * rows * int(rng.integers(1, 3))
    length_PG = rng.integers(1, 200, (problems, 3))
    stream = Lengths(rng.integers(1, 90, (problems, 1)), np.zeros_like(length_PG))
    plan = pack_problems(length_PG, [stream], minibatches * parts * rows, block=32, split=Split(minibatches, parts))
    assert sorted(plan.order_P.tolist()) == list(range(problems))
    for k in range(minibatches):
        assert {int(p) % minibatches for p in plan.order_P[k::minibatches]} == {k}

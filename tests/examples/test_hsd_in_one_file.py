"""One step of the one-file example is one step of the project: the same contexts, loss, credit and gradient."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from transformers import AutoTokenizer

from examples import hsd_in_one_file as example
from hsd_jax import methods
from hsd_jax.data import chat_template, tiny
from hsd_jax.data.problems import Problem
from hsd_jax.data.tokenization import Windows, encode, tokenize
from hsd_jax.methods import METHODS
from hsd_jax.reading.contexts import Chosen
from hsd_jax.reading.pieces import ANSWER, PEER
from hsd_jax.scoring.scorer import padded_scorer
from hsd_jax.types import Padded, Rollouts
from hsd_jax.update.credit import divergence_positions
from hsd_jax.update.inputs import build_inputs
from hsd_jax.update.state import MicroBatch, StepConfig, TrainState
from hsd_jax.update.step import build_targets, gradients
from hsd_jax.verifiers.math import grade
from models import hf, hf_layout
from models.qwen3 import Params, Qwen3Config

P, G, T = 2, 4, example.RESPONSE
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
LAYERS = 2  # of three: to compile is what takes the time
CONFIG = replace(Qwen3Config.from_hf(str(example.MODEL)), layers=LAYERS)
SHAPE = replace(example.load(example.MODEL)[0], layers=LAYERS)


@pytest.fixture(scope="module", autouse=True)
def implicit_ranks() -> Iterator[None]:
    """The example broadcasts as NumPy does; its reader knows the axes from the names."""
    with jax.numpy_rank_promotion("allow"):
        yield


@dataclass(frozen=True)
class Step:
    """One batch of attempts in both forms. The first problem has two successes, the second none; one is cut short."""

    problems: list[tiny.TinyProblem]
    rollouts: example.Rollouts
    peers_PG: np.ndarray
    batch: example.Batch


@pytest.fixture(scope="module")
def tokenizer() -> example.Tokenizer:
    return example.Tokenizer.from_file(str(example.MODEL / "tokenizer.json"))


@pytest.fixture(scope="module")
def step(tokenizer: example.Tokenizer) -> Step:
    rng = np.random.default_rng(1)
    chains = [tiny.random_chain(rng) for _ in range(P)]
    problems = [tiny.TinyProblem(str(p), tiny.question(c), str(tiny.results(c)[-1]), "") for p, c in enumerate(chains)]
    wrong_at = [(None, 2, 0, None), (1, 3, 3, 4)]
    texts = [
        tiny.solution(chain, tuple(3 * (k == at) for k in range(len(chain.operators))))
        for chain, row in zip(chains, wrong_at, strict=True)
        for at in row
    ]
    ids = [tokenizer.encode(text + example.STOP, add_special_tokens=False).ids for text in texts]
    ids[-1] = ids[-1][:-9]
    response_BT = np.full((P * G, T), 7)  # what stands past an attempt must not matter
    for row, attempt in zip(response_BT, ids, strict=True):
        row[: len(attempt)] = attempt
    rewards = [grade(tokenizer.decode(row), problems[b // G].answer).reward for b, row in enumerate(ids)]
    length_B = jnp.asarray([len(row) for row in ids])
    rollouts = example.Rollouts(jnp.asarray(response_BT), length_B, ids, np.reshape(rewards, (P, G)))
    peers_PG = example.choose_peers(rollouts.rewards_PG, rng)
    return Step(problems, rollouts, peers_PG, example.make_batch(tokenizer, problems, rollouts, peers_PG))


@pytest.fixture(scope="module")
def weights() -> tuple[Params, Params]:
    """The initial policy, and one that has moved away from it."""
    initial = hf.load_params(str(example.MODEL), replace(CONFIG, layers=3))
    initial["layers"] = jax.tree.map(lambda x: x[:LAYERS], initial["layers"])
    keys = iter(jax.random.split(jax.random.key(3), 99))
    moved = jax.tree.map(lambda x: x * (1 + 0.1 * jax.random.normal(next(keys), x.shape)), initial)
    return initial, moved


def named(params: Params) -> example.Params:
    """The project's parameters under the names of the file."""
    return {
        entry.theirs.format(i): jnp.asarray(hf_layout.to_file(entry, np.asarray(params["layers"][entry.ours][i])))
        if entry.stacked
        else jnp.asarray(hf_layout.to_file(entry, np.asarray(params[entry.ours])))
        for entry, i in hf_layout.entries(params)
    }


def production_step(step: Step, initial: Params, params: Params) -> tuple[Any, Params, MicroBatch]:
    """((loss, statistics), gradient, what was read) of the project's step on the same attempts."""
    tokenizer = AutoTokenizer.from_pretrained(example.MODEL)
    frame = chat_template.load_chat_template(tokenizer)
    asked = [Problem(p.id, "tiny", "math", p.question, p.answer) for p in step.problems]
    problems = tokenize(asked, tokenizer, frame, Windows(example.PROMPT, 32, 0, {"math": T}))
    fixed = chat_template.fixed_texts(frame.opening)
    encoded = zip(fixed, encode(tokenizer, list(fixed.values())), strict=True)
    peer = replace(PEER, draws="independent")
    method = replace(METHODS["hsd"], teacher="frozen", views=methods.teacher_reads(ANSWER, peer))
    settings = StepConfig(method, optax.identity(), example.PROMPT, example.CONTEXT, 8, 1, 0)
    grouped = step.rollouts.response_BT.reshape(P, G, T), step.rollouts.length_B.reshape(P, G)
    finished_PG = jnp.asarray([row[-1] == 488 for row in step.rollouts.ids]).reshape(P, G)
    state = TrainState(params, (), {"initial": initial}, methods.start_memory(method), jnp.zeros((), jnp.int32))
    args = (
        {name: Padded(jnp.asarray(ids), jnp.asarray(len(ids))) for name, ids in encoded},
        problems,
        Rollouts(*grouped, finished_PG, jnp.zeros((P, G, T))),
        jnp.asarray(step.rollouts.rewards_PG),
        Chosen({peer: jnp.asarray(step.peers_PG)[..., None]}, {}),
    )

    @partial(jax.jit, compiler_options=QUICK)
    def go(state: TrainState, args: Any) -> Any:
        work = build_targets(settings, state, build_inputs(settings, *args))
        return *gradients(settings, padded_scorer(CONFIG, steps=T), state, work), work

    return go(state, args)


@pytest.fixture(scope="module")
def production(step: Step, weights: tuple[Params, Params]) -> tuple[Any, Params, MicroBatch]:
    return production_step(step, *weights)


def test_loss_credit_and_gradient_are_those_of_the_production_step(
    step: Step, weights: tuple[Params, Params], production: tuple[Any, Params, MicroBatch]
) -> None:
    (loss, stats), gradient, _ = production
    initial, moved = named(weights[0]), named(weights[1])
    own = jax.jit(jax.value_and_grad(example.hsd_loss, has_aux=True), static_argnums=1, compiler_options=QUICK)
    (own_loss, own_credit_BT), own_gradient = own(moved, SHAPE, initial, initial, step.batch)
    assert float(loss) > 0.01
    assert float(own_loss) == pytest.approx(float(loss), rel=1e-5)
    inside_BT = np.arange(T) < np.asarray(step.rollouts.length_B)[:, None]
    credit_BT = np.asarray(stats["credit"]).reshape(P * G, T)
    np.testing.assert_allclose(np.asarray(own_credit_BT)[inside_BT], credit_BT[inside_BT], atol=1e-4)
    size = float(optax.tree.norm(gradient))
    assert size > 0.01 and own_gradient.keys() == named(gradient).keys()
    for name, value in named(gradient).items():
        np.testing.assert_allclose(own_gradient[name], value, atol=1e-5 * size, err_msg=name)


def test_student_and_teacher_read_the_same_ids(step: Step, production: tuple[Any, Params, MicroBatch]) -> None:
    _, _, work = production
    for theirs, mine in ((work.student, step.batch.student), (work.views[0], step.batch.teacher)):
        for row, (p, i) in enumerate(np.ndindex(P, G)):
            m = int(theirs.context_index_PG[p, i])
            ids = np.asarray(theirs.tokens_PMC[p, m, : int(theirs.length_PM[p, m])])
            assert np.asarray(mine.tokens_BC[row])[np.asarray(mine.valid_BC[row])].tolist() == ids.tolist()


def test_peers_and_their_divergence(step: Step) -> None:
    """The group with two successes: each reads the other, and failures read one of them; the other group has none."""
    successes = np.flatnonzero(step.rollouts.rewards_PG[0])
    assert len(successes) == 2 and not step.rollouts.rewards_PG[1].any()
    assert set(step.peers_PG[0]) == set(successes) and (step.peers_PG[0] != np.arange(G)).all()
    assert (step.peers_PG[1] == -1).all()
    response_PGT = step.rollouts.response_BT.reshape(P, G, T)
    wanted_PG = divergence_positions(response_PGT, step.rollouts.length_B.reshape(P, G), jnp.asarray(step.peers_PG))
    ids, peers_PG = step.rollouts.ids, step.peers_PG
    for row, (p, i) in enumerate(np.ndindex(P, G)):
        tau = example.divergence(ids[row], ids[p * G + peers_PG[p, i]]) if peers_PG[p, i] >= 0 else -1
        assert tau == int(wanted_PG[p, i])

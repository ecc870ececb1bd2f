"""The step against an independent float64 NumPy computation, and the invariances that define it."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hsd_jax import advantages
from hsd_jax.methods import METHODS
from hsd_jax.methods.view_options import changed_views
from hsd_jax.reading.contexts import Chosen
from hsd_jax.reading.pieces import PEER
from hsd_jax.scoring.scorer import padded_scorer
from hsd_jax.types import Padded, Problems, Rollouts
from hsd_jax.update.inputs import build_inputs, choose_peers
from hsd_jax.update.state import StepConfig, TrainState
from hsd_jax.update.step import build_targets, gradients, policy_logprob, update
from models.qwen3 import Params
from models.scan import Compute
from tests.support.method_cases import cheap_compilation
from tests.support.numpy_oracles import kl
from tests.support.padding import right_padded
from tests.support.step_case import CONFIG, REWARDS, SCORER, Case, G, P, T, make_case, make_weights, settings, state_of


@pytest.fixture(scope="module")
def case() -> Case:
    return make_case()


@pytest.fixture(scope="module")
def weights() -> tuple[Params, Params]:
    return make_weights()


# --- an independent model and loss, in float64 NumPy, one sequence at a time, written from the paper's formulas


def np_norm(x: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + CONFIG.norm_eps) * scale


def np_rotate(x: np.ndarray) -> np.ndarray:
    length, _, size = x.shape
    angle = np.arange(length)[:, None] / CONFIG.rope_theta ** (np.arange(0, size, 2) / size)[None]
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    a, b = x[..., : size // 2], x[..., size // 2 :]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)


def np_logp(params: Params, ids: list[int]) -> np.ndarray:
    """Log-probabilities [len(ids), V] of the token after each position."""
    x = params["embed_VD"][ids]
    for i in range(CONFIG.layers):
        w = {name: value[i] for name, value in params["layers"].items()}
        h = np_norm(x, w["attn_norm_LD"])
        q = np_rotate(np_norm(np.einsum("sd,dnh->snh", h, w["q_LDNH"]), w["q_norm_LH"]))
        k = np_rotate(np_norm(np.einsum("sd,dkh->skh", h, w["k_LDKH"]), w["k_norm_LH"]))
        v = np.einsum("sd,dkh->skh", h, w["v_LDKH"])
        k, v = (np.repeat(a, CONFIG.heads // CONFIG.kv_heads, axis=1) for a in (k, v))
        score = np.einsum("snh,xnh->nsx", q, k) / np.sqrt(CONFIG.head_dim)
        score = np.where(np.tril(np.ones(score.shape[1:], bool)), score, -np.inf)
        score = np.exp(score - score.max(-1, keepdims=True))
        score /= score.sum(-1, keepdims=True)
        x = x + np.einsum("nsx,xnh,nhd->sd", score, v, w["o_LNHD"])
        h = np_norm(x, w["mlp_norm_LD"])
        gate = h @ w["gate_LDF"]
        x = x + (gate / (1 + np.exp(-gate)) * (h @ w["up_LDF"])) @ w["down_LFD"]
    logits = np_norm(x, params["final_norm_D"]) @ params["head_DV"]
    logits -= logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def np_of_response(params: Params, context: list[int], response: list[int]) -> np.ndarray:
    return np_logp(params, context + response)[len(context) - 1 : -1]


def run(setting: StepConfig, weights: tuple[Params, Params], case: Case, rewards: np.ndarray = REWARDS):
    """((loss, stats), gradient) and the peers of one batch."""

    @jax.jit
    def go(state: TrainState, problems: Problems, rollouts: Rollouts, rewards_PG: jax.Array):
        peers = choose_peers(setting.method, problems, rollouts, rewards_PG, jax.random.key(5))
        inputs = build_inputs(setting, case.frame, problems, rollouts, rewards_PG, peers)
        return gradients(setting, SCORER, state, build_targets(setting, state, inputs)), peers

    return go(state_of(setting, *weights), case.problems, case.rollouts, jnp.asarray(rewards))


def np_context(case: Case, p: int, peer: int, *, reads_peer: bool) -> list[int]:
    head, answer, tail = (case.pieces[name][p] for name in ("head", "answer", "tail"))
    if peer < 0 or not reads_peer:
        return head + answer + [53] + tail
    text = case.responses[p][peer]
    text = text[:-1] if bool(case.rollouts.finished_PG[p, peer]) else text
    return head + answer + [50] + text + [51, 52] + [53] + tail


def np_loss(case: Case, weights: tuple[Params, Params], method: str, peers: np.ndarray) -> float:
    policy, reference = (jax.tree.map(lambda x: np.asarray(x, np.float64), params) for params in weights)
    total = 0.0
    for p in range(P):
        deviation = REWARDS[p].std(ddof=1) + 1e-6
        for i, response in enumerate(case.responses[p]):
            prompt = case.pieces["head"][p] + case.pieces["tail"][p]
            student = np_of_response(policy, prompt, response)
            token = 1e-3 * kl(student, np_of_response(reference, prompt, response))
            if method == "grpo":
                advantage = (REWARDS[p, i] - REWARDS[p].mean()) / deviation
                old = np.asarray(case.rollouts.logprob_PGT[p, i, : len(response)], np.float64)
                ratio = np.exp(student[np.arange(len(response)), response] - old)
                token -= np.minimum(ratio * advantage, ratio.clip(0.8, 1.2) * advantage)
            else:
                context = np_context(case, p, int(peers[p, i]), reads_peer=method == "hsd")
                token += kl(np_of_response(policy, context, response), student)
            total += token.mean() / (P * G)
    return total


@pytest.mark.parametrize(
    ("method", "draws"), [("hsd", "coupled"), ("hsd", "independent"), ("opsd", "coupled"), ("grpo", "coupled")]
)
def test_loss_equals_the_formula(case: Case, weights: tuple[Params, Params], method: str, draws: str) -> None:
    """grpo's ratios are to the sampler's log-probabilities here: with one update all others would be 1."""
    views = changed_views(METHODS[method].views, {"peer_draws": draws})
    ((loss, _), _), chosen = run(settings(method, row={"views": views, "old_policy": "sampler"}), weights, case)
    peers = next(iter(chosen.peers.values()))[..., 0] if chosen.peers else np.full((P, G), -1)
    assert float(loss) == pytest.approx(np_loss(case, weights, method, np.asarray(peers)), rel=1e-5)


@pytest.mark.parametrize("method", ["hsd", "grpo"])
def test_micro_batches_and_order_do_not_matter(case: Case, weights: tuple[Params, Params], method: str) -> None:
    ((loss, stats), grads), _ = run(settings(method), weights, case)
    for parts in (2, 4):
        setting = replace(settings(method), micro_batches=parts)
        ((loss_n, stats_n), grads_n), _ = run(setting, weights, case)
        assert float(loss_n) == pytest.approx(float(loss), rel=1e-6, abs=1e-7)
        for a, b in zip(jax.tree.leaves((grads, stats)), jax.tree.leaves((grads_n, stats_n)), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-5)
    order = np.array([2, 0, 3, 1])
    shuffled = replace(
        case,
        problems=jax.tree.map(lambda x: x[order], case.problems),
        rollouts=jax.tree.map(lambda x: x[order], case.rollouts),
    )
    ((loss_s, _), grads_s), _ = run(settings(method), weights, shuffled, REWARDS[order])
    assert float(loss_s) == pytest.approx(float(loss), rel=1e-6, abs=1e-7)
    for a, b in zip(jax.tree.leaves(grads), jax.tree.leaves(grads_s), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-5)


def test_a_teacher_that_reads_what_the_student_reads_teaches_nothing(
    case: Case, weights: tuple[Params, Params]
) -> None:
    """No answer, no peer, no closing line: both contexts are the question, so loss and gradient are zero."""
    nothing = Padded(jnp.zeros(1, jnp.int32), jnp.asarray(0))
    plain = replace(
        case,
        frame=dict(case.frame) | {"closing": nothing},
        problems=replace(case.problems, answer=right_padded([[]] * P), solution=right_padded([[]] * P)),
    )
    # count every rollout as distilled although nothing privileged is known
    known = replace(
        plain, problems=replace(plain.problems, solution=replace(plain.problems.solution, length=jnp.ones(P, int)))
    )
    setting = settings("opsd", row={"beta": 0.0})
    ((loss, stats), grads), _ = run(setting, weights, known, np.zeros_like(REWARDS))
    assert float(jnp.abs(stats["credit"]).max()) < 1e-5
    assert float(loss) == pytest.approx(0.0, abs=1e-7)
    assert float(optax.tree.norm(grads)) < 1e-5


def test_nothing_flows_into_the_teacher(case: Case, weights: tuple[Params, Params]) -> None:
    """With a frozen teacher that holds the same weights, loss and gradient are those of the live one."""
    policy, _ = weights
    same = policy, policy
    ((live, _), grads), _ = run(settings("hsd", row={"beta": 0.0}), same, case)
    ((frozen, _), frozen_grads), _ = run(settings("hsd", row={"beta": 0.0, "teacher": "frozen"}), same, case)
    assert float(live) == pytest.approx(float(frozen), rel=1e-6)
    assert float(optax.tree.norm(grads)) > 1e-3
    for a, b in zip(jax.tree.leaves(grads), jax.tree.leaves(frozen_grads), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6, rtol=1e-5)


def test_groups_without_success_are_those_of_opsd(case: Case, weights: tuple[Params, Params]) -> None:
    none = np.zeros_like(REWARDS)
    ((hsd, _), _), peers = run(settings("hsd"), weights, case, none)
    ((opsd, _), _), _ = run(settings("opsd"), weights, case, none)
    assert all((drawn == -1).all() for drawn in peers.peers.values())
    assert float(hsd) == pytest.approx(float(opsd), rel=1e-6)


def test_without_fallback_rollouts_without_peer_have_no_weight(case: Case, weights: tuple[Params, Params]) -> None:
    row = {"distilled": advantages.with_peer, "beta": 0.0}
    ((loss, _), grads), _ = run(settings("hsd", row=row), weights, case, np.zeros_like(REWARDS))
    assert float(loss) == 0.0 and float(optax.tree.norm(grads)) == 0.0


def test_equal_rewards_give_grpo_nothing(case: Case, weights: tuple[Params, Params]) -> None:
    for value in (0.0, 1.0):
        ((loss, _), grads), _ = run(settings("grpo", row={"beta": 0.0}), weights, case, np.full_like(REWARDS, value))
        assert float(loss) == 0.0 and float(optax.tree.norm(grads)) == 0.0


def test_in_bfloat16_all_rollout_ratios_are_one_before_an_update(case: Case, weights: tuple[Params, Params]) -> None:
    """gspo's clip is 3e-4 wide. Nothing is learned here, so all minibatches see the policy before the first."""
    setting = replace(settings("gspo", row={"beta": 0.0, "minibatches": 2}), optimizer=optax.sgd(0.0))
    scorer = padded_scorer(CONFIG, steps=T, how=Compute(jnp.bfloat16))

    @partial(jax.jit, compiler_options=cheap_compilation())
    def go(state: TrainState):
        rewards_PG, no_peers = jnp.asarray(REWARDS), Chosen({PEER: jnp.full((P, G, 1), -1)}, {})
        inputs = build_inputs(setting, case.frame, case.problems, case.rollouts, rewards_PG, no_peers)
        return policy_logprob(setting, scorer, state.params, inputs), update(setting, scorer, state, inputs)

    old_PGT, (_, metrics, trace) = go(state_of(setting, *weights))
    valid_PGT = np.arange(T) < np.asarray(case.rollouts.length_PG)[..., None]
    gap_PGT = np.where(valid_PGT, np.asarray(trace.stats["student_logprob"]) - old_PGT, 0)
    ratio_PG = np.exp(gap_PGT.sum(-1) / valid_PGT.sum(-1))
    assert (1 - 3e-4 < ratio_PG).all() and (ratio_PG < 1 + 4e-4).all()
    assert float(metrics["loss"]) == pytest.approx(0.0, abs=1e-3)  # advantages of a group cancel where ratios are 1
    noted_PGT = np.where(valid_PGT, np.asarray(case.rollouts.logprob_PGT) - old_PGT, 0)
    assert np.abs(noted_PGT.sum(-1) / valid_PGT.sum(-1)).min() > 0.01  # what the sampler noted is another policy's


def test_an_update_that_is_not_finite_changes_nothing(case: Case, weights: tuple[Params, Params]) -> None:
    setting = settings("grpo", row={"old_policy": "sampler"})
    step = jax.jit(partial(update, setting, SCORER))
    broken = replace(case.rollouts, logprob_PGT=jnp.full_like(case.rollouts.logprob_PGT, -jnp.inf))
    for rollouts, skipped in ((case.rollouts, 0.0), (broken, 1.0)):
        state = state_of(setting, *weights)
        rewards_PG, no_peers = jnp.asarray(REWARDS), Chosen({PEER: jnp.full((P, G, 1), -1)}, {})
        inputs = build_inputs(setting, case.frame, case.problems, rollouts, rewards_PG, no_peers)
        after, metrics, _ = step(state, inputs)
        same = all(jax.tree.leaves(jax.tree.map(lambda a, b: bool((a == b).all()), state.params, after.params)))
        assert float(metrics["skipped"]) == skipped and same == bool(skipped)
        assert int(after.step) == 1

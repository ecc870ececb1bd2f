"""One table of tests for the table of methods: every row must pass each."""

import ast
import inspect
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tests.support.method_cases as cases
import tests.support.method_formulas as formulas
import tests.support.step_case as qwen3
from hsd_jax import advantages, losses, methods
from hsd_jax.methods import METHODS, View, scheduled, targets, view_options, weighing, words
from hsd_jax.reading.pieces import attempts
from hsd_jax.update.inputs import build_inputs, choose_peers
from hsd_jax.update.metrics import measure
from hsd_jax.update.step import update
from hsd_jax.update.token_stats import overlap_of
from models.qwen3 import init_params
from tests.support.method_cases import REWARDS, Result, batch, run
from tests.support.paths import ROOT
from tools import method_table

# Rows in which all code paths of the step occur: full and top-k divergence, a third stream, an EMA and a synced
# teacher, group and rollout ratios, a penalty, a memory.
KINDS = ("hsd", "sdpo", "demopsd", "gspo", "rlsd", "antisd")


@pytest.fixture(scope="module", params=METHODS)
def stepped(request: pytest.FixtureRequest) -> tuple[str, Result]:
    """A row and one step of it; its program is compiled here, once for the whole file."""
    return request.param, run(request.param)


def assert_same(one: Result, other: Result, tolerance: float = 2e-5) -> None:
    """Loss and gradient agree up to rounding."""
    assert float(one.metrics["loss"]) == pytest.approx(float(other.metrics["loss"]), rel=tolerance, abs=1e-7)
    for name in one.gradient:
        np.testing.assert_allclose(one.gradient[name], other.gradient[name], atol=tolerance, rtol=tolerance)


def test_every_row_equals_its_formula(stepped: tuple[str, Result]) -> None:
    """Loss, and its slope along a random direction, of the whole step: contexts, credit, weights, token losses."""
    name, result = stepped
    assert_equals_formula(result, name, formulas.sets_of(cases.peers_of(name, batch())))


@pytest.mark.parametrize("reads", formulas.CONTEXTS)
def test_feedback_is_read_where_there_is_no_peer(reads: str) -> None:
    views = (("teacher", View("teacher", view_options.READS[reads])),)
    chosen = cases.peers_of("hsd", batch())
    result = run("hsd", (("views", views),), peers=chosen)
    assert_equals_formula(result, reads, formulas.sets_of(chosen))
    read = result.trace.inputs.read
    assert bool((read.has_context_PG == (read.has_peer_PG | (REWARDS < 1))).all())


def assert_equals_formula(result: Result, name: str, sets: formulas.Sets) -> None:
    assert np.isfinite(float(result.metrics["loss"])) and float(result.metrics["skipped"]) == 0
    policy = cases.doubles(batch().weights["policy"])
    # everybody reads another attempt where a success will do as well (oasis)
    assert all((peers >= 0).any() and ((peers < 0).any() or name == "oasis") for peers in sets.values())
    assert float(result.metrics["loss"]) == pytest.approx(formulas.np_loss(name, sets, policy, policy), rel=1e-5)
    rng = np.random.default_rng(7)
    for _ in range(2):
        along = {key: rng.normal(size=value.shape) for key, value in policy.items()}
        slope = sum(float((result.gradient[key] * along[key]).sum()) for key in along)
        assert slope == pytest.approx(formulas.np_slope(name, sets, along), rel=2e-4, abs=2e-6)


def test_every_row_measures_what_it_has(stepped: tuple[str, Result]) -> None:
    name, result = stepped
    assert ("teacher_logprob" in result.trace.stats) == methods.has_teacher(METHODS[name])
    assert ("kl_reference" in result.trace.stats) == bool(METHODS[name].beta)
    assert int(result.state.step) == cases.STEP + 1


@pytest.mark.parametrize(("name", "parts"), [*((name, 2) for name in KINDS), ("demopsd", 4)])
def test_micro_batches_do_not_matter(name: str, parts: int) -> None:
    assert_same(run(name, micro_batches=parts), run(name))


@pytest.mark.parametrize("name", KINDS)
def test_eight_devices_are_one(name: str) -> None:
    spread = run(name, devices=8)
    assert len(spread.trace.stats["student_logprob"].sharding.device_set) == 8
    assert_same(spread, run(name))


def test_rows_without_weight_are_inert(stepped: tuple[str, Result]) -> None:
    """What stands in left-out rollouts (unless others read them) and behind the end of the others changes nothing."""
    name, result = stepped
    of, rollouts = batch(), batch().rollouts
    unread = all(piece.outcome == "successes" for piece in attempts(methods.pieces(METHODS[name])))
    behind_PGT = np.arange(cases.T) >= np.asarray(rollouts.length_PG)[..., None]
    inert_PGT = behind_PGT | (unread & np.asarray(~rollouts.finished_PG)[..., None])
    assert inert_PGT.any() and (~inert_PGT).any()
    other = replace(
        rollouts,
        response_PGT=jnp.where(inert_PGT, 1 + (rollouts.response_PGT * 7 + 3) % (cases.V - 1), rollouts.response_PGT),
        logprob_PGT=jnp.where(inert_PGT, -3.0, rollouts.logprob_PGT),
    )
    peers = cases.peers_of(name, of)
    again = run(name, of=replace(of, rollouts=other), peers=peers)
    assert float(again.metrics["loss"]) == float(result.metrics["loss"])
    assert all((again.gradient[key] == result.gradient[key]).all() for key in again.gradient)


def test_permuting_a_group_permutes_the_result(stepped: tuple[str, Result]) -> None:
    name, result = stepped
    order = np.array([2, 0, 3, 1])
    of = batch()
    shuffled = replace(of, rollouts=jax.tree.map(lambda x: np.asarray(x)[:, order], of.rollouts))
    problems = of.problems
    written = jax.tree.map(lambda x: np.asarray(x)[:, order], (problems.feedback, problems.wrong_answer))
    shuffled = replace(shuffled, problems=replace(problems, feedback=written[0], wrong_answer=written[1]))

    def moved(peers: jax.Array) -> np.ndarray:
        peers_PGK = np.asarray(peers)[:, order]
        return np.where(peers_PGK >= 0, np.argsort(order)[np.maximum(peers_PGK, 0)], -1).astype(np.int32)

    chosen = jax.tree.map(moved, cases.peers_of(name, of))
    again = run(name, of=shuffled, rewards=REWARDS[:, order], peers=chosen)
    assert_same(again, result)
    for key, values in result.trace.stats.items():
        if not key.startswith("top_ids"):  # equally likely tokens have no order
            np.testing.assert_allclose(again.trace.stats[key], np.asarray(values)[:, order], atol=1e-4)


def test_permuting_problems_changes_nothing(stepped: tuple[str, Result]) -> None:
    name, result = stepped
    order = np.array([3, 7, 0, 5, 1, 2, 6, 4])
    of = batch()
    problems, rollouts = jax.tree.map(lambda x: np.asarray(x)[order], (of.problems, of.rollouts))
    shuffled = replace(of, problems=problems, rollouts=rollouts)
    chosen = jax.tree.map(lambda peers: peers[order], cases.peers_of(name, of))
    assert_same(run(name, of=shuffled, rewards=REWARDS[order], peers=chosen), result)


def test_every_row_compiles_once(stepped: tuple[str, Result]) -> None:
    """Other rewards, other peers, another step: no other program."""
    name, result = stepped
    other = run(name, rewards=1 - REWARDS, step=cases.STEP + 30)
    assert cases.program(name, (), 1, 1).traces == [name]
    changed = any((other.gradient[key] != result.gradient[key]).any() for key in other.gradient)
    assert changed or not (METHODS[name].policy or methods.peer_of(METHODS[name]))


def test_rows_with_more_passes_run_on_qwen3() -> None:
    """A third stream (demopsd) and a pass for the rollout's ratio (sdft, gspo) at once; test_step.py has the rest."""
    both = losses.with_rollout_importance(METHODS["demopsd"].divergence)
    row = {"divergence": both, "rollout_ratio": advantages.mean_clipped_ratio, "beta": 1e-3}
    setting = qwen3.settings("demopsd", row=row)
    shapes = jax.eval_shape(partial(init_params, qwen3.CONFIG), jax.random.key(0))
    rng = np.random.default_rng(5)
    policy, other = (jax.tree.map(lambda x: rng.normal(size=x.shape).astype(x.dtype) / 3, shapes) for _ in range(2))
    state = qwen3.state_of(setting, policy, other)
    state = replace(state, copies=state.copies | {"teacher": jax.tree.map(jnp.array, other)})
    of = qwen3.make_case()
    untrained_PGT = jnp.full_like(of.rollouts.logprob_PGT, -np.log(qwen3.CONFIG.vocab_size))
    of = replace(of, rollouts=replace(of.rollouts, logprob_PGT=untrained_PGT))
    rewards_PG = jnp.asarray(qwen3.REWARDS)
    peers_PG = choose_peers(setting.method, of.problems, of.rollouts, rewards_PG, jax.random.key(5))
    step = jax.jit(partial(update, setting, qwen3.SCORER), compiler_options=cases.cheap_compilation())
    after, metrics, _ = step(state, build_inputs(setting, of.frame, of.problems, of.rollouts, rewards_PG, peers_PG))
    assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves((after.params, metrics)))
    assert float(metrics["grad_norm"]) > 1e-3 and float(metrics["skipped"]) == 0


# --- reductions: what a row becomes at the ends of its options


def test_without_strength_the_reweighted_gradient_is_grpo() -> None:
    """rlsd after its strength has faded, and dapo where no response is too long: the same loss and normalization."""
    long = replace(batch(), problems=replace(batch().problems, limit_P=jnp.full(cases.P, 1000, jnp.int32)))
    assert_same(run("rlsd", of=long, step=50), run("dapo", of=long))


TRAINER = ("old_policy", "trainer")


def test_at_ratio_one_gspo_is_grpo() -> None:
    """One update, ratios to the trainer's policy; both divide by the sequence. The sampler's word is not asked."""
    on_policy = run("grpo", (TRAINER,))
    assert_same(run("gspo", (TRAINER,)), on_policy)
    exact = replace(batch().rollouts, logprob_PGT=on_policy.trace.stats["student_logprob"])
    assert_same(run("grpo", of=replace(batch(), rollouts=exact)), on_policy)
    unknown = replace(batch().rollouts, logprob_PGT=jnp.full_like(exact.logprob_PGT, jnp.nan))
    blind = run("grpo", (TRAINER,), of=replace(batch(), rollouts=unknown))
    assert all((blind.gradient[key] == on_policy.gradient[key]).all() for key in on_policy.gradient)


def test_policy_gradients_have_ratios_to_the_trainers_policy() -> None:
    """By default; importance of distilled tokens is the sampler's by default, and who has neither names none."""
    for name, row in METHODS.items():
        weighs = name in ("sdpo", "sdft", "demopsd", "mopd", "srpo", "cgtr")
        assert row.old_policy == ("trainer" if row.policy else "sampler" if weighs else "none")


@pytest.mark.parametrize("name", ["grpo", "gspo"])
def test_later_minibatches_have_ratios_to_the_policy_before_the_first(name: str) -> None:
    """As if the sampler had noted the log-probabilities of that policy, whatever it did note."""
    first = run(name, (TRAINER,)).trace.stats["student_logprob"]
    exact = replace(batch().rollouts, logprob_PGT=first)
    wanted = run(name, (("minibatches", 4),), of=replace(batch(), rollouts=exact), micro_batches=2)
    found = run(name, (TRAINER, ("minibatches", 4)), micro_batches=2)
    moved = jnp.abs(found.trace.stats["student_logprob"] - first)[1::4]
    assert float(moved.max()) > 1e-2
    for key, value in wanted.gradient.items():
        np.testing.assert_allclose(found.gradient[key], value, atol=2e-5)


def test_without_successes_hsd_is_opsd() -> None:
    none = np.zeros_like(REWARDS)
    assert all((peers == -1).all() for peers in cases.peers_of("hsd", batch(), none).peers.values())
    assert_same(run("hsd", rewards=none), run("opsd", rewards=none))


@pytest.mark.parametrize(("share", "part"), [(0.0, "grpo"), (1.0, "opsd")])
def test_the_hybrid_at_its_ends_is_its_parts(share: float, part: str) -> None:
    assert_same(run("grpo_opsd", (("distill", share), ("policy", 1 - share))), run(part))


def test_all_of_the_vocabulary_but_one_and_a_tail_is_all_of_it() -> None:
    """sdpo with k = V - 1 and the tail: the loss and the gradient of the divergence over the full vocabulary."""
    student, teacher = np.random.default_rng(2).normal(size=(2, 5, cases.V)).astype(np.float32) * 3

    def values_and_slopes(logits: jax.Array) -> list[tuple[jax.Array, jax.Array]]:
        other = jax.nn.log_softmax(teacher)
        both = (losses.top_k_with_tail(jsd, cases.V - 1), jsd)
        return [jax.value_and_grad(lambda x, d=d: d(jax.nn.log_softmax(x), other).sum())(logits) for d in both]

    (kept, kept_slope), (full, full_slope) = jax.jit(values_and_slopes)(student)
    assert float(kept) == pytest.approx(float(full), rel=1e-5) and float(full) > 0.1
    np.testing.assert_allclose(kept_slope, full_slope, atol=1e-6)


def jsd(student: jax.Array, teacher: jax.Array) -> jax.Array:
    return losses.jsd_logp(student, teacher, 0.5)


@pytest.mark.parametrize("name", [name for name, row in METHODS.items() if row.policy and not row.distill])
def test_groups_of_equal_rewards_give_policy_gradients_exactly_nothing(name: str) -> None:
    """Advantage, loss and gradient; antisd still has its bonus, which does not come from rewards."""
    row = replace(METHODS[name], beta=0.0)
    for reward in (0.0, 1.0):
        advantage_PG = row.advantage(jnp.full((3, cases.G), reward))
        assert (np.asarray(advantage_PG) == 0).all()
    student, teacher = np.random.default_rng(3).normal(size=(2, 6, 9)).astype(np.float32)
    ones = jnp.ones(6)
    token = losses.TokenInputs(jnp.arange(6), ones * (name != "antisd"), 0 * ones, -ones, 0.1 * ones, 0.5 * ones, ones)

    @jax.jit
    def values_and_slope(logits: jax.Array) -> tuple[jax.Array, jax.Array]:
        others = dict.fromkeys(("teacher", "wrong"), jax.nn.log_softmax(teacher))
        value = lambda x: methods.token_loss(row)(jax.nn.log_softmax(x), others, token)  # noqa: E731
        return value(logits), jax.grad(lambda x: value(x).sum())(logits)

    for found in values_and_slope(student):
        assert (np.asarray(found) == 0).all()


# --- what happens around an update


def test_minibatches_are_updates_in_turn() -> None:
    """gspo's four minibatches: problem p belongs to minibatch p mod 4; each starts from what the one before made."""
    of, peers = batch(), cases.peers_of("gspo", batch())
    together = run("gspo", (("minibatches", 4),))
    weights = dict(of.weights)
    for part in range(4):
        problems, rollouts = jax.tree.map(lambda x, part=part: np.asarray(x)[part::4], (of.problems, of.rollouts))
        one = replace(of, problems=problems, rollouts=rollouts, weights=weights)
        after = run("gspo", (("minibatches", 1),), of=one, rewards=REWARDS[part::4], peers=peers)
        weights = weights | {"policy": after.state.params}
    for key, value in together.state.params.items():
        np.testing.assert_allclose(value, weights["policy"][key], atol=2e-5)


def test_an_ema_teacher_moves_as_the_closed_form() -> None:
    for name, rate in (("sdpo", 0.05), ("sdft", 0.01), ("demopsd", 0.05)):
        after = run(name).state
        for key, old in batch().weights["teacher"].items():
            wanted = (1 - rate) * old + rate * after.params[key]
            np.testing.assert_allclose(after.copies["teacher"][key], wanted, atol=1e-6)


def test_a_synced_teacher_is_renewed_every_twenty_steps() -> None:
    for step, renewed in ((18, False), (19, True), (20, False)):
        after = run("rlsd", step=step).state
        kept = batch().weights["teacher"]
        for key, value in after.copies["teacher"].items():
            assert (np.asarray(value) == np.asarray(after.params[key] if renewed else kept[key])).all()


def test_rows_that_nobody_sampled_count_in_no_statistic() -> None:
    """Other reference solutions: another loss, and the same scores, rewards and measures of every rollout."""
    of, seen = batch(), run("stable_opd")
    golden = of.problems.further["golden"]
    moved = replace(golden, tokens=1 + (golden.tokens * 5 + 2) % (cases.V - 1))
    further = dict(of.problems.further) | {"golden": moved}
    again = run("stable_opd", of=replace(of, problems=replace(of.problems, further=further)))
    assert float(again.metrics["loss"]) != float(seen.metrics["loss"])
    assert any((again.gradient[key] != seen.gradient[key]).any() for key in seen.gradient)
    settings = cases.program("stable_opd").settings
    first, other = (jax.device_get(measure(settings, result.trace)) for result in (seen, again))
    assert seen.trace.stats["student_logprob"].shape == (cases.P, cases.G, cases.T)
    for name, value in first.items():
        np.testing.assert_array_equal(value, other[name])


def test_without_their_weight_such_rows_change_nothing() -> None:
    plain, none = (("rows", ()),), (("row_weight", 0.0),)
    assert_same(run("brts", none), run("brts", plain))


def test_a_gated_teacher_is_renewed_once_reward_has_gained_and_lengths_have_not_grown() -> None:
    memory = {name: jnp.asarray(value) for name, value in scheduled.GATED_MEMORY}

    def after(steps: int, reward: float, length: float) -> list[int]:
        nonlocal memory
        renewed = []
        for _ in range(steps):
            memory = scheduled.consolidated(memory, {"reward": jnp.asarray(reward), "length": jnp.asarray(length)})
            renewed.append(int(memory["renew"]))
        return renewed

    assert sum(after(12, 0.4, 20.0)) == 0  # nothing gained
    assert after(3, 0.6, 20.0) == [1, 0, 0]  # gained at once, after more than ten updates; then isolated again
    assert after(9, 0.9, 90.0) == [0] * 9 and sum(after(20, 0.9, 90.0)) == 0  # gained, and longer by far
    assert sum(after(30, 0.9, 20.0)) >= 1


def test_a_gated_teacher_moves_with_its_memory() -> None:
    ready = {"updates": 30.0, "since": 20.0, "reward": 0.9, "length": 8.0, "reward_at": 0.1, "length_at": 8.0}
    for since, renewed in ((20.0, True), (3.0, False)):
        start = tuple((ready | {"renew": 0.0, "since": since}).items())
        after = run("cgtr", (("memory", start),)).state
        for key, value in after.copies["teacher"].items():
            wanted = after.params[key] if renewed else batch().weights["teacher"][key]
            assert (np.asarray(value) == np.asarray(wanted)).all()
        assert float(after.memory["renew"]) == renewed


@pytest.mark.parametrize("support", losses.SUPPORTS)
def test_supports_and_overlap_are_those_of_sets(support: str) -> None:
    student, teacher = jax.nn.log_softmax(np.random.default_rng(6).normal(size=(2, 5, 12)).astype(np.float32) * 2)
    ones, k = jnp.ones(5), 4
    token = losses.TokenInputs(jnp.arange(5), ones, ones, None, ones, ones, ones)
    found = losses.on_support(support, k)(student, {"teacher": teacher}, token)
    stats = overlap_of(student, teacher, k)
    for t in range(5):
        own, taught = (set(np.argsort(-np.asarray(logp[t]))[:k].tolist()) for logp in (student, teacher))
        sets = {"student": own, "teacher": taught, "intersection": own & taught, "union": own | taught}
        kept = sorted((sets | {"difference": own ^ taught})[support])
        p, q = (np.asarray(logp[t], np.float64) for logp in (student, teacher))
        weight = np.exp(p[kept]) / max(np.exp(p[kept]).sum(), 1e-30)
        assert float(found[t]) == pytest.approx(
            float((weight * (p[kept] - q[kept]) * p[kept]).sum()), rel=1e-4, abs=1e-6
        )
        both = sorted(own & taught)
        assert float(stats["overlap"][t]) == pytest.approx(len(both) / k)
        assert float(stats["overlap_mass"][t]) == pytest.approx(float(np.exp(p[both]).sum()), abs=1e-5)
        pb, qb = (np.exp(x[both]) / max(np.exp(x[both]).sum(), 1e-30) for x in (p, q))
        gain = float((pb * np.log(qb / pb)).sum() / max(len(both), 1)) if both else 0.0
        assert float(stats["overlap_gain"][t]) == pytest.approx(gain, abs=1e-5)


def test_the_horizon_grows_and_ends_with_the_window() -> None:
    reach = advantages.reach
    assert [reach(64, step, 0.25, 5) for step in (0, 4, 5, 14)] == [16, 16, 32, 48]
    assert reach(64, 99, 0.0, 0) == 64 and reach(64, 99, 10, 0) == 10 and reach(10, 0, 0.25, 0) == 3


def test_the_gate_of_antisd_closes_and_opens() -> None:
    memory = {"open": jnp.ones(()), "warm": jnp.zeros(()), "updates": jnp.zeros(())}
    entropies = [3.0, 3.0, 3.0, 3.0, 1.0, 0.95, 0.92, 0.95, 1.0, 0.94]
    seen = []
    for step, entropy in enumerate(entropies):
        seen.append(float(weighing.antisd_strength(jnp.asarray(step), memory)))
        memory = weighing.antisd_gate(memory, {"teacher_entropy": jnp.asarray(entropy)})
    assert seen == [0, 0, 0, 0, 0, 0.5, 0.5, 0, 0, 0.5] and float(memory["open"]) == 1
    assert float(memory["warm"]) == 1.0  # the last of the five steps before the strength is on


def test_docs_have_every_row_as_it_is() -> None:
    """The tables of docs/methods.md are those that the rows make; the README names every row."""
    text = (ROOT / "docs" / "methods.md").read_text()
    assert method_table.page(text) == text
    named = (ROOT / "README.md").read_text().split("Methods: ")[1].split("; any with")[0]
    assert set(re.findall(r"`(\w+)`", named)) == set(METHODS) == set(formulas.FORMULAS)


def test_a_row_says_what_it_is_made_of() -> None:
    made = losses.distillation(losses.tempered(losses.pointwise_clipped_kl(0.06), 1.1))
    assert words.word_of(made) == "distillation(tempered(pointwise_clipped_kl(0.06), 1.1))"
    assert words.word_of(partial(losses.jsd_logp, alpha=0.5)) == "jsd_logp(0.5)"
    assert set(words.functions_in(made)) == {"distillation", "tempered", "pointwise_clipped_kl"}
    for name, row in METHODS.items():
        assert row.source in words.cells_of(name, row)[-1] and "<" not in "".join(words.cells_of(name, row))


@pytest.mark.parametrize(
    ("name", "family", "functions"),
    [
        ("rlrt", weighing, (weighing.rlrt_strength, advantages.successful_with_peer)),
        ("antisd", weighing, (weighing.antisd_strength, weighing.antisd_gate, losses.antisd_advantage)),
        ("demopsd", targets, (losses.mixture_kl,)),
    ],
)
def test_a_method_from_outside_is_a_row_and_its_functions(
    name: str, family: ModuleType, functions: tuple[Callable[..., Any], ...]
) -> None:
    """At most 25 lines each, docstrings included, with all that no other row uses."""
    tree = ast.parse(inspect.getsource(family))
    tables = [node.value for node in tree.body if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Dict)]
    row = next(
        value
        for table in tables
        for key, value in zip(table.keys, table.values, strict=True)
        if isinstance(key, ast.Constant)
        and key.value == name
        and isinstance(value, ast.Call)
        and isinstance(value.func, ast.Name)
        and value.func.id == "replace"
    )
    lines = (row.end_lineno or 0) - row.lineno + 1
    lines += sum(bool(line.strip()) for function in functions for line in inspect.getsource(function).splitlines())
    assert 5 < lines <= 25

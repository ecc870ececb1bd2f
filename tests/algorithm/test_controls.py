"""Controls: what the teacher reads in place of its context, id by id, and who is left out for want of it."""

from dataclasses import replace
from functools import lru_cache
from typing import get_args, get_type_hints

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hsd_jax import config
from hsd_jax.errors import InputError
from hsd_jax.methods import METHODS, readings
from hsd_jax.methods.controls import CONTROLS, controlled
from hsd_jax.reading.contexts import Chosen
from hsd_jax.setup import validation
from hsd_jax.setup.method_overrides import resolve
from hsd_jax.types import Problems, Rollouts
from hsd_jax.update.inputs import build_inputs, choose_peers
from hsd_jax.update.state import StepInputs, TrainState
from hsd_jax.update.step import build_targets
from tests.support.method_cases import REWARDS, UNKNOWN, WRONG_PGX, Batch, G, P, batch, cheap_compilation, program, run
from tests.support.padding import fixed_texts
from tests.support.paths import ROOT

OPEN, CLOSE, CLOSING, EXAMPLE, END = [50], [51, 52], [53], [57], [58]
HEADS = 2  # ids of the fixed opening of every head in the batch of these tests


@lru_cache
def opened_batch() -> Batch:
    """The batch with heads that begin with the fixed opening, as prefixes do."""
    of = batch()
    heads = np.asarray(of.problems.prefix.tokens).copy()
    heads[:, :HEADS] = [54, 40]
    pieces = dict(of.pieces) | {"head": [[54, 40, *ids[HEADS:]] for ids in of.pieces["head"]]}
    problems = replace(of.problems, prefix=replace(of.problems.prefix, tokens=jnp.asarray(heads)))
    return replace(of, pieces=pieces, problems=problems, frame=fixed_texts(opening=[54, 40]))


@lru_cache
def built(name: str, control: str, seed: int = 5) -> tuple[Chosen, StepInputs]:
    """What was chosen for a method under a control, and what every view reads."""
    return read(name, control, opened_batch().rollouts, seed)


def read(name: str, control: str, rollouts: Rollouts, seed: int = 5) -> tuple[Chosen, StepInputs]:
    of = opened_batch()
    method = controlled(METHODS[name], control) if control else METHODS[name]
    settings = replace(program("hsd").settings, method=method, context_tokens=60)

    def go(problems: Problems, rollouts: Rollouts, rewards_PG: jax.Array, key: jax.Array) -> tuple[Chosen, StepInputs]:
        chosen = choose_peers(method, problems, rollouts, rewards_PG, key)
        return chosen, build_inputs(settings, of.frame, problems, rollouts, rewards_PG, chosen)

    compiled = jax.jit(go, compiler_options=cheap_compilation())
    return jax.device_get(compiled(of.problems, rollouts, REWARDS, jax.random.key(seed)))


def text_of(inputs: StepInputs, p: int, i: int) -> list[int]:
    contexts = inputs.views[0]
    m = contexts.context_index_PG[p, i]
    return contexts.tokens_PMC[p, m, : contexts.length_PM[p, m]].tolist()


def attempt(p: int, i: int) -> list[int]:
    of = opened_batch()
    return of.responses[p][i][: -1 if bool(of.rollouts.finished_PG[p, i]) else None]


def around(p: int, middle: list[int]) -> list[int]:
    of = opened_batch()
    return of.pieces["head"][p] + middle + CLOSING + of.pieces["tail"][p]


def in_words(text: list[int]) -> list[int]:
    return OPEN + text + CLOSE


GIVERS = [(p, i) for p, i in np.ndindex(P, G) if REWARDS[p, i]]


def candidates(control: str, p: int, i: int) -> list[list[int]]:
    """Everything that `hsd` may read under a control; empty where it must be left out."""
    of = opened_batch()
    answer, others = of.pieces["answer"], [(q, j) for q, j in GIVERS if q != p]
    match control:
        case "wrong_peer":
            wrong = [j for j in range(G) if j != i and not REWARDS[p, j]]
            return [answer[p] + in_words(attempt(p, j)) for j in wrong]
        case "itself":
            return [answer[p] + in_words(attempt(p, i))]
        case "shuffled_peer":
            return [answer[p] + in_words(attempt(q, j)) for q, j in others]
        case "framing_only":
            return [[59, 51] + in_words([])]
        case "wrong_answer":
            peers = [in_words(attempt(p, j)) for j in range(G) if j != i and REWARDS[p, j]] or [[]]
            return [WRONG_PGX[p, i].tolist() + peer for peer in peers]
        case _:
            heads = of.pieces["head"]
            return [EXAMPLE + heads[q][HEADS:] + answer[q] + in_words(attempt(q, j)) + END for q, j in others]


@pytest.mark.parametrize("control", CONTROLS)
def test_a_control_reads_what_it_says_or_is_left_out(control: str) -> None:
    _, inputs = built("hsd", control)
    for p, i in np.ndindex(P, G):
        allowed = [around(p, middle) for middle in candidates(control, p, i)]
        assert bool(inputs.read.has_context_PG[p, i]) == bool(allowed), (p, i)
        if allowed:
            assert text_of(inputs, p, i) in allowed


def test_a_success_of_another_problem_is_the_nearest_in_length() -> None:
    chosen, _ = built("hsd", "shuffled_peer")
    lengths = np.array([[len(attempt(p, i)) for i in range(G)] for p in range(P)])
    for p in range(P):
        best = min(abs(lengths[q, j] - round(lengths[p].mean())) for q, j in GIVERS if q != p)
        assert abs(int(chosen.given["attempt"].length[p]) - round(lengths[p].mean())) == best


def test_controls_without_what_they_replace_replace_everything() -> None:
    """`opsd` reads an answer alone: a control by a peer reads that peer alone."""
    _, inputs = built("opsd", "wrong_peer")
    for p, i in np.ndindex(P, G):
        allowed = [around(p, in_words(attempt(p, j))) for j in range(G) if j != i and not REWARDS[p, j]]
        assert bool(inputs.read.has_context_PG[p, i]) == bool(allowed)
        assert not allowed or text_of(inputs, p, i) in allowed


@pytest.mark.parametrize("control", [name for name in CONTROLS if name != "framing_only"])
def test_several_attempts_are_replaced_by_one(control: str) -> None:
    """`mopd` reads two successes and a failure, `rlrt` one success: under a control both read alike."""
    (_, many), (_, one) = built("mopd", control), built("rlrt", control)
    np.testing.assert_array_equal(many.read.has_context_PG, one.read.has_context_PG)
    assert bool(one.read.has_context_PG.any())
    for p, i in np.argwhere(one.read.has_context_PG):
        assert text_of(many, p, i) == text_of(one, p, i)


@pytest.mark.parametrize("control", ["", "wrong_peer", "itself"])
def test_a_rollout_is_seen_by_its_readers_alone(control: str) -> None:
    """Other ids in one rollout: the contexts of those who read it change, and no others."""
    of, place = opened_batch(), (6, 2)
    chosen, inputs = built("hsd", control)
    other = replace(of.rollouts, response_PGT=of.rollouts.response_PGT.at[place].set(33))
    _, again = read("hsd", control, other)
    peers = next(iter(chosen.peers.values()))[..., 0] if chosen.peers else np.broadcast_to(np.arange(G), (P, G))
    for p, i in np.ndindex(P, G):
        reads_it = p == place[0] and peers[p, i] == place[1]
        assert (text_of(inputs, p, i) != text_of(again, p, i)) == reads_it


@pytest.mark.parametrize("name", ["hsd", "rcsd", "ccopd", "sgsd", "brts"])
def test_empty_framing_gives_no_credit(name: str) -> None:
    """Without words around nothing, teacher and student read the same, and a live teacher teaches nothing."""
    row = (("views", controlled(METHODS[name], "framing_only").views), ("beta", 0.0), ("teacher", "live"), ("rows", ()))
    of = batch()
    silent = {name: replace(text, length=np.int32(0)) for name, text in of.frame.items()}
    result = run(name, row, of=replace(of, frame=silent), peers=Chosen({}, {}))
    assert float(jnp.abs(result.trace.stats["credit"]).max()) < 1e-5
    if name != "sgsd":  # whose other teachers still read their skills
        assert bool(result.trace.inputs.read.has_context_PG.all()) and abs(float(result.metrics["loss"])) < 1e-7
    if name != "ccopd":  # which has no words of its own
        worded = run(name, row, peers=Chosen({}, {}))
        assert float(jnp.abs(worded.trace.stats["credit"]).max()) > 1e-2


@pytest.mark.parametrize(
    ("gate", "kept"), [("all", REWARDS >= 0), ("correct_only", REWARDS > 0), ("failed_only", REWARDS < 1)]
)
def test_a_gate_leaves_out_more(gate: str, kept: np.ndarray) -> None:
    method = resolve(config.Method(gate=gate))  # type: ignore[arg-type]
    settings = replace(program("hsd").settings, method=method)
    state = TrainState({}, (), {}, {}, jnp.asarray(3))
    work = build_targets(settings, state, built("hsd", "")[1])
    known = np.ones((P, G), bool)
    known[UNKNOWN] = False
    np.testing.assert_array_equal(np.asarray(work.token.distill)[..., 0] > 0, kept & known)


@pytest.mark.parametrize("name", [name for name, row in METHODS.items() if row.views])
@pytest.mark.parametrize("control", CONTROLS)
def test_every_method_with_a_teacher_takes_every_control(name: str, control: str) -> None:
    method = resolve(config.Method(name=name, control=control))  # type: ignore[arg-type]
    assert readings(method)[0] != readings(METHODS[name])[0]
    assert method.views[1:] == METHODS[name].views[1:]
    everyone = np.ones((1, 2), bool)
    gated = method.distilled(jnp.asarray(everyone), jnp.asarray(~everyone), jnp.ones((1, 2), jnp.int32))
    plain = METHODS[name].distilled(jnp.asarray(everyone), jnp.asarray(everyone), jnp.ones((1, 2), jnp.int32))
    np.testing.assert_array_equal(gated, plain)


def test_a_control_without_another_problem_is_refused() -> None:
    for control in ("other_problem", "shuffled_peer"):
        chosen = config.Method(control=control)  # type: ignore[arg-type]
        settings = config.Config(method=chosen, data=config.Data(problems_per_step=1))
        with pytest.raises(InputError, match=f"data.problems-per-step is 1, but method.control {control} reads"):
            validation.check(settings, resolve(chosen), processes=1)


def test_a_control_has_no_effect_without_a_teacher(caplog: pytest.LogCaptureFixture) -> None:
    assert resolve(config.Method(name="grpo", control="itself", gate="correct_only")) == METHODS["grpo"]
    assert "method.control has no effect on 'grpo'" in caplog.text


def test_docs_have_every_control() -> None:
    text = (ROOT / "docs" / "methods.md").read_text()
    table = text.split("### Controls")[1].split("###")[0]
    assert {line.split("`")[1] for line in table.splitlines() if line.startswith("| `")} == set(CONTROLS)
    hint = get_type_hints(config.Method)["control"]
    assert set(get_args(get_args(hint)[0])) == set(CONTROLS)

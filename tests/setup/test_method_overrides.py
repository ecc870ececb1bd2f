"""From a config's words to a row: what changes, what is refused, what is said to have no effect."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hsd_jax import advantages, config
from hsd_jax.errors import InputError
from hsd_jax.losses import TokenInputs
from hsd_jax.methods import METHODS, Method, peer_of
from hsd_jax.setup import validation
from hsd_jax.setup.method_overrides import describe, resolve


def test_options_change_the_row_and_are_described() -> None:
    method = resolve(config.Method(name="hsd", fallback=False, teacher="frozen", divergence="jsd", beta=0.0))
    shown = describe(method)
    assert (shown["distilled"], shown["teacher"], shown["divergence"]) == ("with_peer", "frozen", "jsd")
    assert resolve(config.Method(name="grpo_opsd", coefficient=0.25)).policy == 0.75


def test_a_rule_of_each_rollout_draws_for_each_rollout() -> None:
    drawn = [peer_of(resolve(config.Method(peer_rule=rule))) for rule in ("farthest", "rarest")]
    assert [(piece.rule, piece.draws) for piece in drawn if piece] == [
        ("farthest", "independent"),
        ("rarest", "coupled"),
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": "hds"}, "nearest is 'hsd'"),
        ({"name": "grpo_opsd", "coefficient": 1.5}, r"method.coefficient must lie in \[0, 1\]; got 1.5"),
        ({"beta": -1.0}, "method.beta must be at least 0; got -1.0"),
        ({"beta": float("nan")}, "method.beta must be at least 0; got nan"),
        ({"beta": float("inf")}, "method.beta must be at least 0; got inf"),
        ({"teacher": "ema", "teacher_rate": 1.1}, "method.teacher-rate must lie in"),
        ({"teacher": "synced", "teacher_every": 0}, "method.teacher-every must be at least 1"),
        ({"minibatches": 0}, "method.minibatches must be at least 1"),
        ({"attempts": 0}, "method.attempts must be at least 1"),
        ({"skip_tokens": -1}, "method.skip-tokens must be at least 0"),
        ({"horizon": -5}, "method.horizon must be at least 0"),
        ({"horizon": 3, "skip_tokens": 3}, "method.horizon .3. must be above method.skip-tokens .3."),
        ({"reads": "none"}, "the teacher of 'hsd' would read what its student reads"),
        ({"name": "opsd", "distilled": "with_peer"}, "gives credit only to rollouts whose teacher reads a peer"),
        (
            {"name": "sdpo", "reads": "answer"},
            "its teacher reads answer; let it read a peer, or add --method.distilled",
        ),
        ({"name": "rlrt", "reads": "solution"}, "its teacher reads solution"),
        ({"fallback": False, "distilled": "failed"}, "method.fallback False distils only rollouts with a peer"),
        ({"clip": "token"}, "method.clip token and method.clip-at 0.0 do not go together"),
        ({"clip_at": 0.1}, "needs a clip"),
        ({"clip": "pointwise", "clip_at": 0.1, "divergence": "jsd"}, "cuts the forward divergence over all tokens"),
        ({"name": "sdpo", "top_k": 20}, r"method.top-k: add --method.divergence forward\|reverse\|jsd"),
        ({"top_k": -1}, "method.top-k must be at least 0"),
    ],
)
def test_impossible_options_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        resolve(config.Method(**given))


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ({"name": "grpo", "teacher": "frozen"}, "method.teacher"),
        ({"name": "grpo", "reads": "answer"}, "method.reads"),
        ({"name": "grpo", "distilled": "failed"}, "method.distilled"),
        ({"name": "gspo", "divergence": "jsd"}, "method.divergence"),
        ({"name": "rlsd", "divergence": "jsd"}, "method.divergence"),
        ({"name": "sdpo", "advantage": "std"}, "method.advantage"),
        ({"name": "opsd", "peer_rule": "first"}, "method.peer-rule"),
        ({"name": "opsd", "fallback": False}, "method.fallback"),
        ({"name": "sdpo", "fallback": True}, "method.fallback"),
        ({"name": "sdpo", "peer_draws": "independent"}, "method.peer-draws"),
        ({"name": "hsd", "coefficient": 0.5}, "method.coefficient"),
        ({"name": "hsd", "teacher_rate": 0.1}, "method.teacher-rate"),
        ({"name": "sdpo", "teacher_every": 5}, "method.teacher-every"),
        ({"name": "demopsd", "reference_kl": "k3"}, "method.reference-kl"),
        ({"name": "hsd", "old_policy": "trainer"}, "method.old-policy"),
    ],
)
def test_options_without_effect_are_named_and_change_nothing(
    given: dict[str, Any], option: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert resolve(config.Method(**given)) == METHODS[given["name"]]
    assert f"{option} has no effect on '{given['name']}'" in caplog.text


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"name": "gspo", "minibatches": 1},
            "gspo: with one update per batch ratios are 1, and its clip has no effect",
        ),
        ({"name": "dapo"}, "dapo: with one update per batch ratios are 1, and its clip has no effect"),
        ({"name": "gspo", "old_policy": "sampler"}, "sampler and trainer differ by more than its clip"),
        ({"name": "hsd", "reference_kl": "k1"}, "its expected gradient is zero"),
        ({"name": "hsd", "beta": 0.0}, "a live teacher without a KL to the reference may drift away"),
        ({"name": "dapo", "mask_truncated": True}, "truncated rollouts are left out"),
    ],
)
def test_settings_that_defeat_a_method_are_named(
    given: dict[str, Any], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    resolve(config.Method(**given))
    assert message in caplog.text


@pytest.mark.parametrize("name", [name for name in METHODS if name != "dapo"])
def test_rows_as_they_are_warn_of_nothing(name: str, caplog: pytest.LogCaptureFixture) -> None:
    assert resolve(config.Method(name=name)) == METHODS[name]
    assert caplog.text == ""


def test_ratios_to_the_sampler_are_not_said_to_be_one(caplog: pytest.LogCaptureFixture) -> None:
    assert resolve(config.Method(name="dapo", old_policy="sampler")).old_policy == "sampler"
    assert caplog.text == ""


def test_overlong_rollouts_are_shaped_or_left_out() -> None:
    assert resolve(config.Method(name="dapo")).shaping is advantages.soft_overlong
    assert resolve(config.Method(name="dapo", mask_truncated=True)).shaping is advantages.plain_rewards


def test_a_fallback_can_be_taken_out_and_given_back() -> None:
    assert resolve(config.Method(fallback=False)).distilled is advantages.with_peer
    assert resolve(config.Method(fallback=True)) == METHODS["hsd"]
    given = config.Method(name="sdpo", reads="answer_and_peer", fallback=True)
    assert resolve(given).distilled is advantages.all_rollouts


def one_token(method: Method) -> np.ndarray:
    """The divergence of a method at four tokens of a small vocabulary."""
    student, teacher = (jax.nn.log_softmax(3 * jax.random.normal(jax.random.key(k), (4, 9))) for k in (0, 1))
    ones, none = jnp.ones(4), jnp.zeros(4)
    token = TokenInputs(jnp.arange(4), ones, none, none, none, ones, none)
    return np.asarray(method.divergence(student, {"teacher": teacher}, token))


def test_a_divergence_is_cut_and_shortened_as_named() -> None:
    plain = one_token(resolve(config.Method()))
    cut = one_token(resolve(config.Method(clip="token", clip_at=float(np.median(plain)))))
    np.testing.assert_allclose(cut, np.minimum(plain, np.median(plain)), rtol=1e-6)
    assert (one_token(resolve(config.Method(clip="pointwise", clip_at=0.06))) < plain).all()
    np.testing.assert_allclose(one_token(resolve(config.Method(top_k=8))), plain, rtol=1e-4)
    few = one_token(resolve(config.Method(top_k=2, divergence="jsd")))
    assert (few < one_token(resolve(config.Method(divergence="jsd")))).all() and (few > 0).all()


def test_a_horizon_grows_by_itself() -> None:
    steps_T = jnp.arange(10)
    counted = partial(advantages.counted_tokens, steps_T, skip=1, horizon=3, grows_every=2)
    assert [int(counted(jnp.asarray(step)).sum()) for step in range(8)] == [2, 2, 5, 5, 8, 8, 9, 9]
    fixed = advantages.counted_tokens(steps_T, jnp.asarray(99), skip=1, horizon=3, grows_every=0)
    assert fixed.tolist() == [False, True, True, *[False] * 7]
    assert advantages.counted_tokens(steps_T, jnp.asarray(0), skip=0, horizon=0, grows_every=0).all()


@pytest.mark.parametrize(
    ("given", "room", "message"),
    [
        ({"name": "sgsd"}, {}, "data.skill-bank is empty, but the teachers of 'sgsd' read 4 skills"),
        (
            {"name": "sgsd"},
            {"skill_bank": "x.jsonl"},
            "data.skill-tokens is 0, but the teacher of 'sgsd' reads the skill",
        ),
        ({"name": "rcsd"}, {}, "data.rubric-tokens is 0, but the teacher of 'rcsd' reads the rubric"),
    ],
)
def test_texts_that_are_read_need_room(given: dict[str, Any], room: dict[str, Any], message: str) -> None:
    settings = config.Config(method=config.Method(**given), data=config.Data(**room))
    with pytest.raises(InputError, match=message):
        validation.check(settings, resolve(settings.method), processes=1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": "topd", "mask_truncated": True}, "method.horizon-stops: responses of 'topd' would be cut"),
        ({"name": "hsd", "horizon": 9, "horizon_stops": True}, "method.horizon-stops: responses of 'hsd' would be cut"),
        ({"name": "antisd", "teacher": "gated"}, "method.teacher gated: 'antisd' remembers something else"),
    ],
)
def test_teachers_and_horizons_that_cannot_work_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        resolve(config.Method(**given))


def test_any_teacher_can_be_gated() -> None:
    method = resolve(config.Method(name="sdpo", teacher="gated"))
    assert method.memory == METHODS["cgtr"].memory and method.remember is METHODS["cgtr"].remember
    assert resolve(config.Method(horizon=0.5, overlap=8)).horizon == 0.5

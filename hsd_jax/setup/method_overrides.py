"""From the config's words to a row of the table: presets, the options that change them, and what has no effect."""

import logging
import math
from dataclasses import fields, replace
from functools import partial
from typing import Any

from hsd_jax import advantages, config, losses, methods
from hsd_jax.divergence import forward_kl_logp, jsd_logp, reverse_kl_logp
from hsd_jax.errors import InputError, nearest
from hsd_jax.losses import TokenLoss
from hsd_jax.methods import METHODS, Method, has_teacher, peer_of, readings
from hsd_jax.methods.controls import controlled
from hsd_jax.methods.scheduled import GATED_MEMORY, consolidated
from hsd_jax.methods.view_options import changed_views, words_of
from hsd_jax.methods.words import word_of
from hsd_jax.reading.pieces import reads_block

log = logging.getLogger(__name__)

FULL: dict[str, losses.Divergence] = {
    "forward": forward_kl_logp,
    "reverse": reverse_kl_logp,
    "jsd": partial(jsd_logp, alpha=0.5),
}
DIVERGENCES: dict[str, TokenLoss] = {
    "forward": losses.forward,
    "reverse": losses.distillation(FULL["reverse"]),
    "jsd": losses.distillation(FULL["jsd"]),
    "sampled_reverse": losses.sampled_reverse,
}
REFERENCE_KLS: dict[str, TokenLoss] = {"full": losses.full_kl, "k1": losses.k1, "k2": losses.k2, "k3": losses.k3}
DISTILLED = {"all": advantages.all_rollouts, "failed": advantages.failed, "with_peer": advantages.with_peer}
ADVANTAGES = {"std": advantages.standardized, "centered": advantages.centered}
NORMALIZERS = {
    "sequence_mean": advantages.sequence_mean,
    "token_mean": advantages.token_mean,
    "constant": advantages.constant,
}
GATES = {
    "all": advantages.whoever,
    "correct_only": advantages.correct_only,
    "failed_only": advantages.failed_only,
}
TABLES: dict[str, dict[str, Any]] = {
    "divergence": DIVERGENCES,
    "reference_kl": REFERENCE_KLS,
    "distilled": DISTILLED,
    "advantage": ADVANTAGES,
    "normalize": NORMALIZERS,
    "gate": GATES,
}


NEED_A_PEER = (advantages.with_peer, advantages.successful_with_peer)
# The values that a number may take: lowest and highest.
RANGES: dict[str, tuple[float, float]] = {
    "coefficient": (0, 1),
    "teacher_rate": (0, 1),
    "beta": (0, math.inf),
    "teacher_every": (1, math.inf),
    "minibatches": (1, math.inf),
    "attempts": (1, math.inf),
    "skip_tokens": (0, math.inf),
    "horizon": (0, math.inf),
    "horizon_every": (0, math.inf),
    "overlap": (0, math.inf),
    "top_k": (0, math.inf),
}
OF_VIEWS = ("reads", "control", "peer_rule", "peer_draws")  # what changes the views and no other field
SHAPES = ("top_k", "clip", "clip_at")  # what a named divergence may be changed by


def resolve(settings: config.Method) -> Method:
    """The row that a config names, with the config's changes.

    Raises: InputError for an unknown method, an impossible value, or options under which nothing would be learned.
    """
    if settings.name not in METHODS:
        near = nearest(settings.name, METHODS)
        raise InputError(f"method.name: no method {settings.name!r}; the nearest is {near!r} (of {', '.join(METHODS)})")
    row = METHODS[settings.name]
    given = {f.name: getattr(settings, f.name) for f in fields(settings) if f.name != "name"}
    given = {name: value for name, value in given.items() if value is not None}
    _check_numbers(given)
    given = _without_idle(settings.name, row, given)
    method = replace(row, views=changed_views(row.views, given), **_as_fields(row, given))
    _refuse(settings.name, method, given)
    if "control" in given:
        method = controlled(method, given["control"])
    return _warn(settings.name, method)


def _check_numbers(given: dict[str, Any]) -> None:
    for name, (low, high) in RANGES.items():
        value = given.get(name, low)
        if not (low <= value <= high and value < math.inf):
            limits = f"be at least {low}" if high == math.inf else f"lie in [{low}, {high}]"
            raise InputError(f"method.{_flag(name)} must {limits}; got {value}")


def _as_fields(row: Method, given: dict[str, Any]) -> dict[str, Any]:
    out = {}
    if any(name in given for name in SHAPES):
        given = given | {"divergence": _shaped(row, given)}
    for name, value in given.items():
        if name in SHAPES or name in OF_VIEWS:
            continue
        if name == "coefficient":
            out |= {"distill": value, "policy": 1 - value}
        elif name == "fallback":
            needs_peer = row.distilled in NEED_A_PEER
            if needs_peer == value:
                out["distilled"] = advantages.all_rollouts if value else advantages.with_peer
        else:
            out[name] = TABLES[name][value] if name in TABLES and isinstance(value, str) else value
    if given.get("teacher") == "gated" and not row.memory:
        out |= {"remember": consolidated, "memory": GATED_MEMORY}
    return out


def _shaped(row: Method, given: dict[str, Any]) -> TokenLoss:
    """A named divergence on the likeliest tokens only, or cut.

    Raises: InputError where there is no named divergence, or a cut that it does not have.
    """
    named = [name for name, loss in DIVERGENCES.items() if loss is row.divergence]
    name = given.get("divergence", named[0] if named else "")
    shapes = ", ".join(f"method.{_flag(shape)}" for shape in SHAPES if shape in given)
    if name not in FULL:
        raise InputError(f"{shapes}: add --method.divergence {'|'.join(FULL)}, which it can change")
    clip, limit = given.get("clip", "none"), given.get("clip_at", 0.0)
    if (clip != "none") != (limit > 0):
        raise InputError(
            f"method.clip {clip} and method.clip-at {limit} do not go together: a clip needs a value above 0, and a"
            " value needs a clip (token, pointwise)"
        )
    if clip == "pointwise" and (name != "forward" or given.get("top_k")):
        raise InputError(f"method.clip pointwise cuts the forward divergence over all tokens; got {name}")
    divergence = losses.pointwise_clipped_kl(limit) if clip == "pointwise" else FULL[name]
    divergence = losses.top_k_with_tail(divergence, given["top_k"]) if given.get("top_k") else divergence
    return losses.distillation(losses.token_clipped(divergence, limit) if clip == "token" else divergence)


def _without_idle(name: str, row: Method, given: dict[str, Any]) -> dict[str, Any]:
    """Takes out options of parts that the method does not have, and says so: one config may serve several methods."""
    method = (
        replace(row, views=changed_views(row.views, given)) if has_teacher(row) and len(readings(row)) == 1 else row
    )
    peer, read = peer_of(method), methods.pieces(method)
    besides = any(reads_block(read, block) for block in ("answer", "solution", "feedback"))
    idle = {
        "peer_rule": not peer,
        "peer_draws": not (peer and peer.rule == "uniform") or reads_block(read, "feedback"),
        "fallback": not (peer and (besides or not given.get("fallback"))),
        "reads": len(readings(row)) != 1,
        "control": not has_teacher(row),
        "gate": not has_teacher(row),
        "teacher": not has_teacher(row),
        "distilled": not has_teacher(row),
        "divergence": not row.distill,
        **dict.fromkeys(SHAPES, not row.distill),
        "horizon_every": not given.get("horizon", row.horizon),
        "horizon_stops": not given.get("horizon", row.horizon),
        "overlap": not has_teacher(row),
        "advantage": not row.policy,
        "coefficient": not (row.distill and row.policy),
        "teacher_rate": given.get("teacher", row.teacher) != "ema" or not has_teacher(row),
        "teacher_every": given.get("teacher", row.teacher) != "synced" or not has_teacher(row),
        "reference_kl": given.get("beta", row.beta) == 0,
        "old_policy": row.old_policy == "none",
    }
    for option in [option for option in given if idle.get(option)]:
        log.warning("method.%s has no effect on %r as it is set", _flag(option), name)
    return {option: value for option, value in given.items() if not idle.get(option)}


def _refuse(name: str, method: Method, given: dict[str, Any]) -> None:
    """Options that are each possible, but together leave nothing to learn from, or contradict each other.

    Raises: InputError naming the options and what to change.
    """
    if has_teacher(method) and not methods.pieces(method):
        raise InputError(
            f"method.reads none: the teacher of {name!r} would read what its student reads and teach nothing; let it"
            " read something, or take a method without a teacher (grpo)"
        )
    if method.teacher == "gated" and "renew" not in dict(method.memory):
        raise InputError(
            f"method.teacher gated: {name!r} remembers something else from step to step; take ema, synced or frozen"
        )
    if has_teacher(method) and method.distilled in NEED_A_PEER and not peer_of(method):
        raise InputError(
            f"method.reads: {name!r} as it is set gives credit only to rollouts whose teacher reads a peer, but its"
            f" teacher reads {words_of(readings(method)[0])}; let it read a peer, or add --method.distilled all"
        )
    if given.get("fallback") is False and given.get("distilled", "with_peer") != "with_peer":
        raise InputError(
            f"method.fallback False distils only rollouts with a peer, method.distilled {given['distilled']} others"
            " too; give one of them"
        )
    if method.horizon_stops and (method.policy or peer_of(method) or method.mask_truncated):
        raise InputError(
            f"method.horizon-stops: responses of {name!r} would be cut before their answer, but it learns from rewards,"
            " reads peers or leaves truncated rollouts out; add --method.horizon-stops False"
        )
    if 1 <= method.horizon <= method.skip_tokens:
        raise InputError(
            f"method.horizon ({method.horizon:g}) must be above method.skip-tokens ({method.skip_tokens}), or no token"
            " is in the loss; 0 is no horizon"
        )


def _warn(name: str, method: Method) -> Method:
    """Says what will have no effect or is known to fail; overlong rollouts are shaped or left out, never both."""
    if methods.is_on_policy(method) and name in ("gspo", "dapo"):
        log.warning("%s: with one update per batch ratios are 1, and its clip has no effect", name)
    if method.old_policy == "sampler" and name == "gspo":
        log.warning("gspo: in bfloat16, sampler and trainer differ by more than its clip (method.old-policy sampler)")
    if method.beta and method.reference_kl is losses.k1:
        log.warning("method.reference-kl k1 holds nothing back: its expected gradient is zero; full, k2 and k3 do")
    if method.distill and method.teacher == "live" and not method.beta:
        log.warning(
            "%s: a live teacher without a KL to the reference may drift away with its student; see RESULTS", name
        )
    if method.mask_truncated and method.shaping is advantages.soft_overlong:
        log.warning("%s: truncated rollouts are left out (mask-truncated), so long ones are not punished besides", name)
        return replace(method, shaping=advantages.plain_rewards)
    return method


def _flag(option: str) -> str:
    return option.replace("_", "-")


def describe(method: Method) -> dict[str, str]:
    """The row in words, as runs print it; what is as in every row is left out."""
    plain = Method(method.source)
    shown = {}
    for f in fields(method):
        value = getattr(method, f.name)
        if f.name in ("source", "views", "beta") or value != getattr(plain, f.name):
            shown[f.name] = _word(f.name, value)
    return shown


def _word(name: str, value: Any) -> str:
    if name == "views":
        return "; ".join(f"{view} ({of.weights}): {words_of(of.reads)}" for view, of in value) or "none"
    if callable(value):
        known = {id(v): k for k, v in TABLES.get(name, {}).items()}
        return known.get(id(value), word_of(value))
    return word_of(value)

"""From the config's words to a row of the table: presets, the options that change them, and what has no effect."""

import difflib
import logging
from dataclasses import fields, replace
from functools import partial
from typing import Any

from hsd_jax import config, losses, weighing
from hsd_jax.contexts import Reads
from hsd_jax.divergence import jsd_logp, reverse_kl_logp
from hsd_jax.errors import InputError
from hsd_jax.losses import TokenLoss
from hsd_jax.methods import METHODS, Method, has_teacher

log = logging.getLogger(__name__)

DIVERGENCES: dict[str, TokenLoss] = {
    "forward": losses.forward,
    "reverse": losses.distillation(reverse_kl_logp),
    "jsd": losses.distillation(partial(jsd_logp, alpha=0.5)),
    "sampled_reverse": losses.sampled_reverse,
}
REFERENCE_KLS: dict[str, TokenLoss] = {"full": losses.full_kl, "k1": losses.k1, "k2": losses.k2, "k3": losses.k3}
DISTILLED = {"all": weighing.all_rollouts, "failed": weighing.failed, "with_peer": weighing.with_peer}
ADVANTAGES = {"std": weighing.standardised, "centred": weighing.centred}
NORMALISERS = {
    "sequence_mean": weighing.sequence_mean,
    "token_mean": weighing.token_mean,
    "constant": weighing.constant,
}
READS = {
    "none": Reads(),
    "answer": Reads(answer=True),
    "solution": Reads(solution=True),
    "peer": Reads(peer=True),
    "answer_and_peer": Reads(answer=True, peer=True),
}
TABLES: dict[str, dict[str, Any]] = {
    "divergence": DIVERGENCES,
    "reference_kl": REFERENCE_KLS,
    "distilled": DISTILLED,
    "advantage": ADVANTAGES,
    "normalise": NORMALISERS,
    "reads": READS,
}


def resolve(settings: config.Method) -> Method:
    """The row that a config names, with the config's changes.

    Raises: InputError for an unknown method or an impossible value.
    """
    if settings.name not in METHODS:
        nearest = difflib.get_close_matches(settings.name, METHODS, 1, 0.0)[0]
        raise InputError(
            f"method.name: no method {settings.name!r}; the nearest is {nearest!r} (of {', '.join(METHODS)})"
        )
    row = METHODS[settings.name]
    given = {f.name: getattr(settings, f.name) for f in fields(settings) if f.name != "name"}
    given = {name: value for name, value in given.items() if value is not None}
    given = _without_idle(settings.name, row, given)
    method = replace(row, **_as_fields(given))
    _warn(settings.name, method)
    return method


def _as_fields(given: dict[str, Any]) -> dict[str, Any]:
    out = {}
    for name, value in given.items():
        if name == "coefficient":
            out |= {"distil": value, "policy": 1 - value}
        elif name == "fallback":
            out |= {} if value else {"distilled": weighing.with_peer}
        else:
            out[name] = TABLES[name][value] if name in TABLES else value
    return out


def _without_idle(name: str, row: Method, given: dict[str, Any]) -> dict[str, Any]:
    """Takes out options of parts that the method does not have, and says so: one config may serve several methods."""
    reads_peer = given.get("reads", "peer" if row.reads.peer else "") in ("peer", "answer_and_peer")
    idle = {
        "peer_rule": not reads_peer,
        "peer_draws": not reads_peer,
        "fallback": not reads_peer,
        "reads": not has_teacher(row),
        "teacher": not has_teacher(row),
        "distilled": not has_teacher(row),
        "divergence": not row.distil,
        "advantage": not row.policy,
        "coefficient": not (row.distil and row.policy),
        "teacher_rate": given.get("teacher", row.teacher) != "ema" or not has_teacher(row),
        "teacher_every": given.get("teacher", row.teacher) != "synced" or not has_teacher(row),
        "reference_kl": given.get("beta", row.beta) == 0,
    }
    for option in [option for option in given if idle.get(option)]:
        log.warning("method.%s has no effect on %r as it is set", option.replace("_", "-"), name)
    if "coefficient" in given and not 0 <= given["coefficient"] <= 1:
        raise InputError(f"method.coefficient must lie in [0, 1]; got {given['coefficient']}")
    if given.get("beta", 0) < 0:
        raise InputError(f"method.beta must be at least 0; got {given['beta']}")
    return {option: value for option, value in given.items() if not idle.get(option)}


def _warn(name: str, method: Method) -> None:
    if method.policy and method.minibatches == 1 and name in ("gspo", "dapo"):
        log.warning("%s: with one update per batch ratios are 1, and its clip has no effect", name)


def describe(method: Method) -> dict[str, str]:
    """The row in words, as runs print it; what is as in every row is left out."""
    plain = Method(method.source)
    shown = {}
    for f in fields(method):
        value = getattr(method, f.name)
        if f.name in ("source", "reads", "beta") or value != getattr(plain, f.name):
            shown[f.name] = _word(f.name, value)
    return shown


def _word(name: str, value: Any) -> str:
    if isinstance(value, Reads):
        return " + ".join(f.name for f in fields(value) if getattr(value, f.name)) or "nothing"
    if callable(value):
        known = {id(v): k for k, v in TABLES.get(name, {}).items()}
        return known.get(id(value), getattr(value, "__qualname__", "own").split(".<locals>")[0])
    return str(value)

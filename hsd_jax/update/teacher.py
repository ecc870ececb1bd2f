"""Whose weights teach, and the copies of weights that a run keeps besides the policy.

`copies` holds only what the method needs: "initial" (frozen at the start), "reference" (the initial policy, moved now
and then) and "teacher" (a moving average, or a copy renewed at times). Where adapters train, "initial" is what they are
put on; copies that move are of the adapters, and the initial weights without any are a teacher for free.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from hsd_jax.types import Array
from models.qwen3 import Params

Copies = Mapping[str, Params]
Rate = Callable[[Array], Array]

REFERENCE_COEFFICIENT = 0.99


def full_weights(copies: Copies, held: Params) -> Params:
    """The weights that `held` stands for: itself, or, where only adapters train, these beside the initial weights.

    Nothing is computed, so a run that trains all weights runs the same program as without.
    """
    return _over(copies.get("initial", {}), held)


def _over(base: Params, held: Params) -> Params:
    return base | {name: _over(base.get(name, {}), x) if isinstance(x, dict) else x for name, x in held.items()}


def teacher_of(kind: str) -> str:
    """The copy that teaches, or "policy" for a live teacher."""
    return {"live": "policy", "frozen": "initial", "ema": "teacher", "synced": "teacher", "gated": "teacher"}[kind]


def reference_of(every: int) -> str:
    """The copy that the KL is measured to: it stays at the initial weights, or moves every so many steps."""
    return "reference" if every else "initial"


def names_of_copies(*, teacher: str, teaches: bool, anchored: bool, reference_every: int) -> tuple[str, ...]:
    """The copies a run has to keep, each once."""
    needed = ([teacher_of(teacher)] if teaches else []) + ([reference_of(reference_every)] if anchored else [])
    return tuple(sorted(set(needed) - {"policy"}))


def ema(rate: float) -> Rate:
    """Every step, `rate` of the way to the policy."""
    return lambda step: jnp.full((), rate)


def every(steps: int, rate: float) -> Rate:
    """Every `steps` steps, `rate` of the way to the policy; in between, not at all."""
    return lambda step: jnp.where(step % steps == 0, rate, 0.0)


def rates(*, teacher: str, teacher_rate: float, teacher_every: int, reference_every: int) -> dict[str, Rate]:
    """How each moving copy moves after an update, as a function of the number of updates so far.

    A "gated" teacher moves by its method's memory instead.

    Source: arXiv:2606.15576 (reference: every 200 steps, coefficient 0.99), arXiv:2601.20802 (moving average).
    """
    moving = {"ema": ema(teacher_rate), "synced": every(teacher_every, 1.0)}
    out = {"teacher": moving[teacher]} if teacher in moving else {}
    return out | ({"reference": every(reference_every, 1 - REFERENCE_COEFFICIENT)} if reference_every else {})


def advance(copies: Copies, params: Params, step: Array, moves: Mapping[str, Rate]) -> dict[str, Params]:
    """copy + rate * (params - copy) for every copy that moves; a rate of 1 gives exactly the policy."""

    def move(copy: Params, rate: Array) -> Params:
        return jax.tree.map(
            lambda c, p: ((1 - rate) * c.astype(jnp.float32) + rate * p.astype(jnp.float32)).astype(c.dtype),
            copy,
            params,
        )

    return {name: move(copy, moves[name](step)) if name in moves else copy for name, copy in copies.items()}

"""What a program costs, read from its jaxpr: the same numbers on every machine, without compiling or running it.

XLA's own count sees a loop body once and a Pallas kernel as nothing; here the body of a scan counts `length` times.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr


@dataclass(frozen=True)
class Value:
    """An intermediate of a program: which primitive made it, its shape and its size."""

    primitive: str
    shape: tuple[int, ...]
    size_bytes: int


def jaxpr_of(function: Callable[..., Any], *args: Any) -> Jaxpr:
    """The jaxpr of `function` at arguments that may be `jax.ShapeDtypeStruct`s: nothing is allocated."""
    return jax.make_jaxpr(function)(*args).jaxpr


def matmul_flops(jaxpr: Jaxpr) -> float:
    """Floating-point operations of all matrix products: 2 × the product of all axes of each `dot_general`.

    Scan bodies count `length` times, of a `cond` the dearest branch; what rematerialization recomputes counts where
    it is recomputed. Raises: ValueError for a `while` that holds a product, since its trip count is not in the program.
    """
    return sum(repeats * _dot_flops(eqn) for eqn, repeats in _equations(jaxpr) if eqn.primitive.name == "dot_general")


def products(jaxpr: Jaxpr) -> float:
    """`matmul_flops`, with a `while` loop counted once, as one decode step: it runs until everybody has finished."""
    try:
        return matmul_flops(jaxpr)
    except ValueError:  # a while loop around products
        inner = [
            (eqn, [_open(sub) for value in eqn.params.values() for sub in _subprograms(value)]) for eqn in jaxpr.eqns
        ]
        return sum(products(sub) for _, subs in inner for sub in subs) + sum(
            matmul_flops(jaxpr.replace(eqns=[eqn])) for eqn, subs in inner if not subs
        )


def values(jaxpr: Jaxpr) -> Iterator[Value]:
    """Every intermediate of the program and of the programs inside it, over all chips and before fusion."""
    for eqn in jaxpr.eqns:
        for sub in (_open(sub) for value in eqn.params.values() for sub in _subprograms(value)):
            yield from values(sub)
        shaped: list[Any] = [v.aval for v in eqn.outvars if hasattr(v.aval, "shape")]
        for aval in shaped:
            item_bytes = getattr(aval.dtype, "itemsize", 1)
            yield Value(eqn.primitive.name, tuple(aval.shape), prod(aval.shape) * item_bytes)


def largest(jaxpr: Jaxpr) -> Value:
    """The largest intermediate."""
    return max(values(jaxpr), key=lambda value: value.size_bytes)


def _equations(jaxpr: Jaxpr, repeats: float = 1) -> Iterator[tuple[Any, float]]:
    """All equations at any depth with the number of times each runs."""
    for eqn in jaxpr.eqns:
        yield eqn, repeats
        inner = [_open(sub) for value in eqn.params.values() for sub in _subprograms(value)]
        if eqn.primitive.name == "scan":
            inner_repeats = repeats * eqn.params["length"]
        else:
            inner_repeats = repeats
        if eqn.primitive.name == "cond":
            inner = [max(inner, key=matmul_flops)]
        if eqn.primitive.name == "while" and any(matmul_flops(sub) for sub in inner):
            raise ValueError("jaxpr_cost: a while loop holds matrix products; its trip count is not in the program")
        for sub in inner:
            yield from _equations(sub, inner_repeats)


def _subprograms(value: Any) -> list[Any]:
    if isinstance(value, (ClosedJaxpr, Jaxpr)):
        return [value]
    return [sub for item in value for sub in _subprograms(item)] if isinstance(value, (tuple, list)) else []


def _open(program: Any) -> Jaxpr:
    return program.jaxpr if isinstance(program, ClosedJaxpr) else program


def _dot_flops(eqn: Any) -> float:
    (contract, _), _ = eqn.params["dimension_numbers"]
    left = eqn.invars[0].aval.shape
    return 2.0 * prod(eqn.outvars[0].aval.shape) * prod(left[axis] for axis in contract)

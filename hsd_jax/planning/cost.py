"""Operations and arrays of programs whose loops have no fixed length: decoding runs until every slot has finished."""

from collections.abc import Iterator
from math import prod
from typing import Any

from jax.extend.core import ClosedJaxpr, Jaxpr

from hsd_jax.planning.jaxpr_cost import Value, matmul_flops


def products(jaxpr: Jaxpr) -> float:
    """Floating-point operations of matrix products; a `while` loop counts once, as one decode step."""
    try:
        return matmul_flops(jaxpr)
    except ValueError:  # a while loop around products
        return sum(products(inner) for eqn in jaxpr.eqns for inner in inside(eqn)) + sum(
            matmul_flops(jaxpr.replace(eqns=[eqn])) for eqn in jaxpr.eqns if not inside(eqn)
        )


def largest(jaxpr: Jaxpr) -> Value:
    """The largest array that the program makes, over all chips and before the compiler merges anything."""
    return max(values(jaxpr), key=lambda value: value.size_bytes)


def values(jaxpr: Jaxpr) -> Iterator[Value]:
    """Every array made in the program, at any depth."""
    for eqn in jaxpr.eqns:
        for inner in inside(eqn):
            yield from values(inner)
        shaped: list[Any] = [v.aval for v in eqn.outvars if hasattr(v.aval, "shape")]
        for aval in shaped:
            size = prod(aval.shape) * getattr(aval.dtype, "itemsize", 1)
            yield Value(eqn.primitive.name, tuple(aval.shape), size)


def inside(eqn: Any) -> list[Jaxpr]:
    """The programs inside an operation."""
    found: list[Jaxpr] = []
    for value in eqn.params.values():
        for item in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(item, ClosedJaxpr):
                found.append(item.jaxpr)
            elif isinstance(item, Jaxpr):
                found.append(item)
    return found

"""A row in words, made from the row itself: what runs print of it, and the tables in docs/methods.md."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import partial
from inspect import signature
from typing import Any

from hsd_jax.losses import Shares
from hsd_jax.methods.row import Method, has_teacher
from hsd_jax.methods.view_options import words_of
from hsd_jax.reading.further_rows import FurtherRow

HEADER = ("method", "views", "teacher", "distilled", "minimized at a token", "divided by", "besides", "source")
_SHOWN = {"source", "views", "teacher", "distilled", "distill", "divergence", "policy", "policy_loss", "normalize"}
_SHOWN |= {"beta", "reference_kl", "teacher_rate", "teacher_every"}
_OURS = ("hsd_jax.", "models.")


def word_of(value: Any) -> str:
    """A value, or a function with what it was made of: `distillation(tempered(pointwise_clipped_kl(0.06), 1.1))`.

    A function that another one returned holds that one's arguments; they stand in that one's order.
    """
    if isinstance(value, partial):
        return _called(value.func, value.keywords)
    if isinstance(value, FurtherRow):
        return word_of(value.make)
    if isinstance(value, Shares):
        return _called(_maker_of(value.make), _held_by(value.make) | _held_by(value.note))
    if callable(value):
        maker = _maker_of(value)
        return maker.__name__ if maker is value else _called(maker, _held_by(value))
    if isinstance(value, tuple):
        return " ".join(map(word_of, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def functions_in(value: Any) -> dict[str, Callable[..., Any]]:
    """Every function of ours that `word_of` names, by name."""
    if isinstance(value, partial):
        return {value.func.__name__: value.func} | _of_all(value.keywords.values())
    if isinstance(value, Shares | FurtherRow):
        return functions_in(value.make)
    if isinstance(value, tuple):
        return _of_all(value)
    if callable(value) and getattr(value, "__module__", "").startswith(_OURS):
        maker = _maker_of(value)
        return {maker.__name__: maker} | _of_all(_held_by(value).values())
    return {}


def _of_all(values: Any) -> dict[str, Callable[..., Any]]:
    return {name: function for value in values for name, function in functions_in(value).items()}


def _maker_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function of a module that returned this one, or itself."""
    return function.__globals__.get(function.__qualname__.split(".<locals>")[0], function)


def _held_by(function: Callable[..., Any]) -> dict[str, Any]:
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    return dict(zip(function.__code__.co_freevars, cells, strict=True))


def _called(maker: Callable[..., Any], given: Mapping[str, Any]) -> str:
    return (
        f"{maker.__name__}({', '.join(word_of(given[name]) for name in signature(maker).parameters if name in given)})"
    )


def minimized(method: Method) -> str:
    """The terms of the loss with their weights."""
    terms = [(method.distill, method.divergence), (method.policy, method.policy_loss)]
    terms += [(method.beta, method.reference_kl)]
    return " + ".join(f"{weight:g} " * (weight != 1) + word_of(loss) for weight, loss in terms if weight)


def besides(method: Method) -> dict[str, str]:
    """Every other entry that is not as in a plain row."""
    plain = Method(method.source)
    others = [
        f.name for f in fields(method) if f.name not in _SHOWN and getattr(method, f.name) != getattr(plain, f.name)
    ]
    return {name: word_of(getattr(method, name)) for name in others}


def cells_of(name: str, method: Method) -> tuple[str, ...]:
    """A line of the table of methods, by the columns of `HEADER`."""
    whose = {view: "" if of.weights == "teacher" else f" ({of.weights})" for view, of in method.views}
    read = "; ".join(f"{view}{whose[view]}: {words_of(of.reads)}" for view, of in method.views)
    rate = {"ema": f" {method.teacher_rate:g}", "synced": f" every {method.teacher_every}"}.get(method.teacher, "")
    teaches = has_teacher(method)
    return (
        f"`{name}`",
        read or "–",
        f"{method.teacher}{rate}" if teaches else "–",
        f"`{word_of(method.distilled)}`" if teaches else "–",
        f"`{minimized(method)}`",
        f"`{word_of(method.normalize)}`",
        ", ".join(f"`{key}` {value}" for key, value in besides(method).items()) or "–",
        method.source,
    )


def functions_of(method: Method) -> dict[str, Callable[..., Any]]:
    """Every function of ours that the row's line in the table names."""
    absent = {"divergence": method.distill, "policy_loss": method.policy, "reference_kl": method.beta}
    used = [getattr(method, f.name) for f in fields(method) if absent.get(f.name, 1)]
    return _of_all(used)

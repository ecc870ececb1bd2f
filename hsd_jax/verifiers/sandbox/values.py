"""The part of the sandbox program that writes a value of built-in type as JSON; sent together with `sandbox_child`."""

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself would cost every sandbox some milliseconds
    from typing import Any

MOST_DEPTH = 200


def encode(value: object, depth: int) -> str:
    """JSON for a value of built-in type; containers and what JSON lacks carry a tag. Subclasses count as their base."""
    if depth > MOST_DEPTH:
        raise ValueError
    kind = type(value)
    if value is None or kind is bool:
        return {None: "null", True: "true", False: "false"}[value]
    for base, writer in WRITERS:
        if issubclass(kind, base):
            return writer(value, depth)
    raise TypeError


def encode_text(value: str, depth: int) -> str:
    from _json import encode_basestring_ascii

    return encode_basestring_ascii(str.__str__(value))


def encode_integer(value: int, depth: int) -> str:
    plain = int.__add__(value, 0)
    if -(1 << 60) < plain < 1 << 60:
        return int.__repr__(plain)
    return '{"i": "' + format(plain, "x") + '"}'


def encode_float(value: float, depth: int) -> str:
    text = float.__repr__(value)
    return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(text, text)


def encode_many(tag: str, iterate: "Any") -> "Any":
    return lambda value, depth: f'{{"{tag}": [' + ", ".join([encode(item, depth + 1) for item in iterate(value)]) + "]}"


def pairs(value: dict) -> list:
    return [[key, item] for key, item in dict.items(value)]


WRITERS: "Any" = (
    (str, encode_text),
    (int, encode_integer),
    (float, encode_float),
    (list, encode_many("l", list.__iter__)),
    (tuple, encode_many("t", tuple.__iter__)),
    (dict, encode_many("d", pairs)),
    (set, encode_many("s", set.__iter__)),
    (frozenset, encode_many("f", frozenset.__iter__)),
    (complex, encode_many("c", lambda value: (value.real, value.imag))),
    ((bytes, bytearray), encode_many("b", lambda value: [bytes(value).hex()])),
)

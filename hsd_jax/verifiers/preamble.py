"""The standard names that programs of programming contests expect to find imported.

LiveCodeBench runs every program behind star imports of these modules. Only the names a program mentions are
provided here, for the same effect at a fraction of the start-up time.
"""

import builtins
import functools
import importlib
import re

# Source: LiveCodeBench's import string, in its order; a later module wins
_MODULES = (
    "string", "re", "datetime", "collections", "heapq", "bisect", "copy", "math", "random", "statistics", "itertools",
    "functools", "operator", "io", "sys", "json", "typing",
)  # fmt: skip
_PRELOADED = {
    *_MODULES, "abc", "array", "contextlib", "dataclasses", "decimal", "enum", "fractions", "threading", "time",
    "queue", "types", "cmath", "numbers", "textwrap", "hashlib", "struct", "traceback", "warnings", "__future__",
    "os", "calendar", "unicodedata", "zlib", "base64", "pprint", "secrets", "uuid", "weakref", "ast",
}  # fmt: skip
_IDENTIFIER = re.compile(r"(?<![\w.])[A-Za-z_]\w*")
_IMPORT = re.compile(r"^[ \t]*(?:from|import)[ \t]+([\w., \t]+)", re.MULTILINE)
_SLOW = {"statistics", "random", "json", "datetime", "string"}


@functools.cache
def _table() -> dict[str, tuple[str, str]]:
    table: dict[str, tuple[str, str]] = {}
    for module in _MODULES:
        found = importlib.import_module(module)
        public = getattr(found, "__all__", None) or [name for name in dir(found) if not name.startswith("_")]
        table.update({name: (module, name) for name in public if not hasattr(builtins, name)})
    table.update({module: (module, "") for module in _MODULES})
    return table


def needed_names(program: str) -> tuple[tuple[str, str, str], ...]:
    """(name, module, attribute) of each preamble name the program mentions; attribute "" is the module itself.

    A name of a module that is slow to import counts only where the program calls or indexes it and never binds it.
    """
    table = _table()
    mentioned = sorted(set(_IDENTIFIER.findall(program)) & set(table))
    return tuple((name, *table[name]) for name in mentioned if table[name][0] not in _SLOW or _free(name, program))


def _free(name: str, program: str) -> bool:
    bound = re.search(rf"(?:\bdef|\bclass|\bas|\bfor|\bimport)\s+{name}\b|(?<![\w.]){name}\s*(?:=(?!=)|,|:=)", program)
    return bound is None and re.search(rf"(?<![\w.]){name}\s*[(.\[]", program) is not None


def modules_of(program: str, names: tuple[tuple[str, str, str], ...]) -> tuple[str, ...]:
    """Harmless standard modules a program will import, to be loaded once before its tests."""
    imported = {word.split(".")[0] for line in _IMPORT.findall(program) for word in re.split(r"[,\s]+", line)}
    return tuple(sorted((imported & _PRELOADED) | {module for _, module, _ in names}))

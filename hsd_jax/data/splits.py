"""Which file belongs to which split: by the words of its name, else of its directories.

A file of unknown split is announced where no file names one, and refused together with files that do: a held-out set
that became training data would make every later number worthless without anyone noticing.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from hsd_jax.data.files import stem
from hsd_jax.errors import InputError

ENDINGS = ("", "s", "set", "sets", "data", "split", "file", "files")
TRAIN = {word + ending for word in ("train", "training") for ending in ENDINGS} | {"trn"}
HELD_OUT = {
    *(
        word + ending
        for word in ("test", "testing", "val", "valid", "validation", "validate", "dev", "devel", "development")
        for ending in ENDINGS
    ),
    *(
        word + ending
        for word in ("eval", "evaluate", "evaluation", "holdout", "heldout", "unseen", "benchmark")
        for ending in ENDINGS
    ),
    *("tst", "devtest", "testdev", "heldback", "holdback", "ood"),
}


def assign(files: Sequence[Path]) -> dict[Path, str]:
    """The split of every file, "" where nothing says it.

    The words of the file's name decide, else those of the nearest directory below the one that all files share, else
    that one's name if it is nothing but such a word (test-set, Held Out).
    Raises: InputError for a name with words of both splits, and for a file of unknown split among others.
    """
    shared = Path(os.path.commonpath([file.parent for file in files])) if files else Path()
    found = {file: _split(file, shared) for file in files}
    known = next((file for file in files if found[file]), None)
    unknown = next((file for file in files if not found[file]), None)
    if known and unknown:
        raise InputError(
            f"data.path: the name of {unknown} says no split, that of {known.name} says {found[known]!r}; put train or"
            " test into its name, or move it away"
        )
    return found


def _split(file: Path, shared: Path) -> str:
    for name in (stem(file), *reversed(file.parent.relative_to(shared).parts)):
        if split := _of_words(_words(name), file):
            return split
    return _of_words({re.sub(r"[^a-z]", "", shared.name.lower())}, file)


def _words(name: str) -> set[str]:
    """The words of a name in lower case, and any two that follow one another as one (held-out, TestSet)."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    found = [word for word in re.split(r"[^a-z]+", apart.lower()) if word]
    return {*found, *(a + b for a, b in zip(found, found[1:], strict=False))}


def _of_words(words: set[str], file: Path) -> str:
    if words & TRAIN and words & HELD_OUT:
        raise InputError(f"data.path: the name of {file} says both train and test; rename it after what it holds")
    return "train" if words & TRAIN else "test" if words & HELD_OUT else ""

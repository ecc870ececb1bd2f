"""Whether questions that are trained on are also asked in evaluations: what every run looks at when it starts.

Two questions are one if they have the same words, numbers and operators, however they are typeset. `prepare build`
looks further (`decontamination`: near copies, paraphrases); here every question is a hash, kept with the data.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence

import numpy as np

from hsd_jax.data import record_files
from hsd_jax.data.batches import Corpus
from hsd_jax.data.curation.decontamination import read
from hsd_jax.data.problems import Problem
from hsd_jax.data.sources import SOURCES, load, raw_directory
from hsd_jax.errors import InputError
from hsd_jax.runtime import files

LOG = logging.getLogger(__name__)
VERSION = 2  # goes up when questions are reduced in another way
NAMED = 3
BENCHMARKS = ("gsm8k", "math")  # corpora whose test split is one


def at_hand(besides: Sequence[Corpus]) -> list[Corpus]:
    """The evaluation sets that `prepare fetch` has put here; one that cannot be read is named and left out."""
    found, known = [], {one.source for one in besides}
    for name, source in SOURCES.items():
        asked = source.split == "test" or name in BENCHMARKS
        if asked and name not in known and raw_directory(name).is_dir():
            try:
                found.append(load(name))
            except InputError as error:
                LOG.warning("%s is not compared with the training questions: %s", name, error)
    return found


def check(corpora: Sequence[Corpus], rows: Mapping[str, Sequence[int]], *, allowed: bool = False) -> None:
    """Refuses to train on questions of the corpora's own test splits, or of evaluation sets at hand.

    `rows` are the rows of each corpus's training split that are trained on.
    Raises: InputError naming how many and which, unless they are `allowed`; then they are a warning.
    """
    trained = np.concatenate([hashes(one, "train")[list(rows[one.source])] for one in corpora if one.source in rows])
    found = {}
    for corpus in [*corpora, *at_hand(corpora)]:
        if "test" in corpus.splits and (same := np.flatnonzero(np.isin(hashes(corpus, "test"), trained))).size:
            asked = record_files.read_questions(corpus.directory, "test")
            names = [asked[int(row)].id for row in same[:NAMED]]
            found[corpus.source] = f"{same.size} of {corpus.source} ({', '.join(names)}{', ...' * (same.size > NAMED)})"
    if not found:
        return
    what = f"questions that are trained on are held-out or evaluation questions too: {'; '.join(found.values())}"
    if allowed:
        LOG.warning("%s", what)
        return
    raise InputError(
        f"data.source: {what}; build a training set without them (python -m hsd_jax.prepare build --sources .."
        " --against .., then --data.source prepared), or go on with --data.allow-shared-questions"
    )


def hashes(corpus: Corpus, split: str) -> np.ndarray:
    """64 bits of every question of a split, uint64 [rows]; computed once, then kept with the data."""
    rows = record_files.read_questions(corpus.directory, split)

    def read(content: bytes) -> np.ndarray:
        return np.frombuffer(content, np.uint64).reshape(len(rows))

    def find() -> np.ndarray:
        return np.fromiter((_hash(rows[i]) for i in range(len(rows))), np.uint64, len(rows))

    file = corpus.directory / f"questions-{split}-{VERSION}.bin"
    return files.kept(file, find, read, np.ndarray.tobytes)


def _hash(problem: Problem) -> int:
    text = " ".join(read(problem).tokens) or problem.question
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")

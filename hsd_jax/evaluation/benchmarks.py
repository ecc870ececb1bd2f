"""The benchmarks by name: which source they are and which of its problems are asked."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from hsd_jax.data.batches import Corpus
from hsd_jax.data.problems import Problem
from hsd_jax.data.sources import CARD, PREPARED, SOURCES, find, load, raw_directory
from hsd_jax.data.tokenization import Tokenization
from hsd_jax.data.usable import filter_by_length, log_removed
from hsd_jax.errors import InputError
from hsd_jax.runtime import paths


@dataclass(frozen=True)
class Benchmark:
    """The problems of a benchmark; `left_out` maps a reason to question ids."""

    name: str
    fingerprint: str
    problems: tuple[Problem, ...]
    left_out: Mapping[str, tuple[str, ...]]

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of problems that occur."""
        return tuple(sorted({problem.kind for problem in self.problems}))

    def that_fit(self, texts: Tokenization) -> "Benchmark":
        """The benchmark without the prompts that are longer than their window; they are named in the log.

        Raises: InputError if none is left.
        """
        found = filter_by_length(self.problems, texts.tokenizer, texts.chat, texts.windows)
        log_removed(found, self.name)
        rows = sorted(row for rows in found.indices.values() for row in rows)
        if not rows:
            raise InputError(f"no problem of {self.name} fits --prompt-tokens {texts.windows.prompt}")
        return replace(self, problems=tuple(self.problems[row] for row in rows), left_out=found.removed)


def open_benchmark(name: str, path: str = "", first: int = 0) -> Benchmark:
    """A benchmark by its name, or a file or directory of problems in the form of the source `jsonl`.

    Raises: InputError for an unknown name, missing files, or a negative number of problems.
    """
    if first < 0:
        raise InputError(f"--problems must be at least 0 (0: all); got {first}")
    corpus = _corpus(name, path)
    split = "test" if "test" in corpus.splits else next(iter(corpus.splits))
    if len(corpus.splits) > 1 and split != "test":
        raise InputError(f"--benchmark {name}: it has the splits {', '.join(corpus.splits)}, but none named test")
    rows = corpus.splits[split]
    count = min(first, len(rows)) if first else len(rows)
    problems = tuple(rows[i] for i in range(count))
    return Benchmark(corpus.source if name in SOURCES else Path(name).stem, corpus.fingerprint, problems, {})


def _corpus(name: str, path: str) -> Corpus:
    given = None if name in SOURCES else Path(paths.resolve_path(name, "--benchmark"))
    if given and given.exists():
        prepared = (given / CARD).is_file()
        return load(PREPARED if prepared else "jsonl", given)
    directory = Path(path) if path else raw_directory(name)
    if find(name, field="--benchmark").needs_path and not directory.exists():
        raise InputError(
            f"--path: {directory} does not exist; download it with `python -m hsd_jax.prepare fetch --source {name}`"
            " or pass the directory of its files"
        )
    return load(name, directory if SOURCES[name].needs_path else None)

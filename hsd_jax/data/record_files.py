"""Problems as a tensorflow-datasets dataset in array_record files (no TensorFlow is imported, ever).

Row i of a split is row i of the corpus. A split with tests has a twin `<split>_tests` with the same order, so that
prompts can be scanned without reading tests of many MB.

Reading takes the records alone: the metadata beside them, which other readers of the format want, name classes to
import, and a dataset may come from anywhere.
"""

import contextlib
import functools
import io
import json
import logging
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grain
import numpy as np
import tensorflow_datasets as tfds

from hsd_jax.data.batches import ProblemSource
from hsd_jax.data.problems import Problem, Removed, from_example, to_example, to_tests, to_texts
from hsd_jax.errors import InputError

BUILDER_VERSION = "1.0.0"
TESTS = "_tests"
REMOVED, SOURCES = "removed.json", "sources.json"
EXAMPLES_KEPT = 5
SHARD = re.compile(r"problems-(\w+)\.array_record-\d{5}-of-(\d{5})")

Rows = Iterable[Problem | Removed]


@functools.cache
def _features() -> tfds.features.FeaturesDict:
    fields = ("id", "source", "kind", "question", "answer", "solution", "names", "tests")
    texts = {name: tfds.features.Text() for name in fields}
    return tfds.features.FeaturesDict(texts | {"difficulty": tfds.features.Scalar(np.float32)})


class ProblemsBuilder(tfds.core.GeneratorBasedBuilder):
    """The one builder of all sources: `splits` maps a split's name to its examples (with a `tests` text)."""

    name = "problems"
    # The source lies beside no checksums file; without this, tfds looks for one through a package it does not require.
    code_path = None
    VERSION = tfds.core.Version(BUILDER_VERSION)

    def __init__(self, *, splits: Mapping[str, Iterable[dict[str, Any]]], **arguments: Any) -> None:
        self._splits = splits
        super().__init__(**arguments)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(builder=self, features=_features(), disable_shuffling=True)

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        return {name: self._generate_examples(rows) for name, rows in self._splits.items()}

    def _generate_examples(self, rows: Iterable[dict[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
        yield from enumerate(rows)


@dataclass
class _Tally:
    """What happened to the rows of one split while they were written."""

    kept: int
    removed: Counter[str]
    examples: dict[str, list[dict[str, str]]]


def write(
    directory: Path,
    splits: Mapping[str, Callable[[], Rows]],
    *,
    with_tests: bool,
    sources: Iterable[Mapping[str, Any]] = (),
) -> None:
    """Writes a dataset to `directory` (whole or not at all): array_record files, tfds metadata, `removed.json`.

    `splits` maps a split's name to a function that starts reading its rows; `sources` says which files they lie in.
    Raises: InputError for a repeated id or a split without problems.
    """
    tallies = {name: _Tally(0, Counter(), {}) for name in splits}
    examples = {name: _questions(name, rows, tallies[name]) for name, rows in splits.items()}
    if with_tests:
        examples |= {name + TESTS: _tests(rows) for name, rows in splits.items()}
    made = not directory.parent.exists()
    directory.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".building-", dir=directory.parent))
    try:
        built = _build(scratch, examples)
        report = {name: vars(tally) for name, tally in tallies.items()}
        (built / SOURCES).write_text(json.dumps(list(sources), indent=1, ensure_ascii=False), encoding="utf-8")
        (built / REMOVED).write_text(json.dumps(report, indent=1, ensure_ascii=False), encoding="utf-8")
        _publish(built, directory)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        if made:
            with contextlib.suppress(OSError):  # something came of it
                directory.parent.rmdir()


def _build(scratch: Path, examples: Mapping[str, Iterable[dict[str, Any]]]) -> Path:
    tfds.disable_progress_bar()
    config = tfds.core.BuilderConfig(name="rows")
    with contextlib.redirect_stdout(io.StringIO()), _quiet_absl():
        builder = ProblemsBuilder(splits=examples, data_dir=str(scratch), config=config, file_format="array_record")
        builder.download_and_prepare()
    return Path(builder.data_dir)


@contextlib.contextmanager
def _quiet_absl() -> Iterator[None]:
    # tensorflow-datasets warns about every custom configuration and reports each step on its own.
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _publish(built: Path, directory: Path) -> None:
    try:
        os.rename(built, directory)
    except OSError:
        # Another process wrote the same content first: the name is a hash of it.
        if not (directory / REMOVED).is_file():
            raise


def _questions(split: str, rows: Callable[[], Rows], tally: _Tally) -> Iterator[dict[str, Any]]:
    seen: set[str] = set()
    for row in rows():
        if isinstance(row, Removed):
            tally.removed[row.reason] += 1
            examples = tally.examples.setdefault(row.reason, [])
            if len(examples) < EXAMPLES_KEPT:
                examples.append({"id": row.id, "text": row.text[:300]})
            continue
        if row.id in seen:
            raise InputError(f"split {split!r}: the id {row.id!r} occurs twice (row {tally.kept}); make ids unique")
        seen.add(row.id)
        tally.kept += 1
        yield to_example(row) | {"tests": to_texts(row)}
    if not tally.kept:
        raise InputError(f"split {split!r} has no problem; removed: {dict(tally.removed) or 'nothing'}")


def _tests(rows: Callable[[], Rows]) -> Iterator[dict[str, Any]]:
    blank = to_example(Problem("", "", "", "", "")) | {"tests": ""}
    for row in rows():
        if isinstance(row, Problem):
            yield blank | {"id": row.id, "tests": to_tests(row)}


@contextlib.contextmanager
def damage_refused(directory: Path) -> Iterator[None]:
    """Whatever reading a dataset raises within the block is one refusal: libraries raise what they stumble over.

    Raises: InputError.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {error}"[:200]
        raise InputError(f"data.path: the dataset in {directory} is damaged ({what}); make it again") from error


def _shards(directory: Path) -> dict[str, list[Path]]:
    """The files of each split, twins included, in order. Raises: InputError if one is missing."""
    found: dict[str, list[Path]] = {}
    for file in record_paths(directory):
        found.setdefault(SHARD.fullmatch(file.name)[1], []).append(file)  # type: ignore[index]
    for files in found.values():
        count = int(SHARD.fullmatch(files[0].name)[2])  # type: ignore[index]
        if len(files) != count:
            raise InputError(f"data.path: {files[0].parent} has {len(files)} of {count} files like {files[0].name}")
    return found


def record_paths(directory: Path) -> list[Path]:
    """All files of records of a written dataset, by name."""
    with damage_refused(directory):
        return sorted(file for file in directory.iterdir() if SHARD.fullmatch(file.name))


def splits_of(directory: Path) -> tuple[str, ...]:
    """The names of a written dataset's splits."""
    return tuple(sorted(name for name in _shards(directory) if not name.endswith(TESTS)))


def read(directory: Path, split: str) -> ProblemSource:
    """The problems of a split, with their tests, by random access (`dataset[i]`)."""
    return _problems(directory, split, with_tests=True)


def read_questions(directory: Path, split: str) -> ProblemSource:
    """The problems of a split without their tests: quick to scan."""
    return _problems(directory, split, with_tests=False)


def _problems(directory: Path, split: str, *, with_tests: bool) -> ProblemSource:
    shards = _shards(directory)
    with damage_refused(directory):
        rows = _records(shards[split])
        tests = _records(shards[split + TESTS]) if with_tests and split + TESTS in shards else None

    def problem(i: int) -> Problem:
        with damage_refused(directory):
            return from_example(_example(rows[i]), _example(tests[i])["tests"] if tests else b"{}")

    return grain.MapDataset.range(len(rows)).map(problem)


def _records(shards: Sequence[Path]) -> Any:
    return grain.sources.ArrayRecordDataSource([str(file) for file in shards])


def _example(record: bytes) -> Any:
    return _features().deserialize_example_np(record)


def removed_rows(directory: Path) -> dict[str, Any]:
    """Per split: `kept` (count), `removed` (reason -> count), `examples` (reason -> rows), as counted when written."""
    return _told(directory / REMOVED)


def source_files(directory: Path) -> list[dict[str, Any]]:
    """The files that were read: "file", "split", "rows"; none for a dataset made of other datasets."""
    return _told(directory / SOURCES) if (directory / SOURCES).is_file() else []


def _told(file: Path) -> Any:
    with damage_refused(file.parent):
        return json.loads(file.read_text(encoding="utf-8"))

"""What a command needs of its corpora: the problems of a split that fit, by kind, and their fingerprint."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import grain

from hsd_jax.data import batches, record_files
from hsd_jax.data.batches import Corpus
from hsd_jax.data.chat_template import ChatTemplate
from hsd_jax.data.problems import Problem
from hsd_jax.data.sources import OWN, SOURCES, load
from hsd_jax.data.tokenization import Windows
from hsd_jax.data.usable import LengthFilter, log_removed, usable_cached
from hsd_jax.errors import InputError

Item = TypeVar("Item")


@dataclass(frozen=True)
class TrainingPool:
    """The problems that can be trained on: one random-access dataset per kind, and what was left out per source."""

    problems: Mapping[str, batches.ProblemSource]
    fingerprint: str
    left_out: Mapping[str, LengthFilter]


def load_all(sources: str, path: Path | None = None, *, fields: str = "", cache: Path | None = None) -> list[Corpus]:
    """The corpora of one source, or of several joined by "+" whose files lie in `path/<source>`.

    `fields` names the fields of one's own rows; see `sources.load`.
    """
    names = sources.split("+")
    if len(names) == 1:
        return [load(sources, path, fields=fields, cache=cache)]
    if len(set(names)) < len(names):
        raise InputError(f"data.source: a source is named twice in {sources!r}")
    if fields and OWN not in names:
        raise InputError(f"data.fields: none of {sources} has fields of your own; only {OWN!r} has")
    own = {name: fields if name == OWN else "" for name in names}
    return [load(name, _within(name, path), fields=own[name], cache=cache) for name in names]


def _within(name: str, path: Path | None) -> Path | None:
    return path / name if path is not None and name in SOURCES and SOURCES[name].needs_path else None


def pool(corpora: Sequence[Corpus], split: str, tokenizer: Any, frame: ChatTemplate, windows: Windows) -> TrainingPool:
    """The usable problems of a split of all corpora together; what is left out is named in the log.

    Raises: InputError if no corpus has the split or no problem of it fits the windows.
    """
    parts: dict[str, list[grain.MapDataset[Problem]]] = {}
    left_out = {}
    for corpus in corpora:
        if split not in corpus.splits:
            continue
        rows = corpus.splits[split]
        found = usable_cached(corpus, split, tokenizer, frame, windows)
        log_removed(found, corpus.source)
        left_out[corpus.source] = found
        for kind, indices in found.indices.items():
            parts.setdefault(kind, []).append(batches.select(rows, indices))
    names = "+".join(corpus.source for corpus in corpora)
    if not left_out:
        raise InputError(f"data.source: {names} has no {split!r} split; it has {_split_names(corpora)}")
    if not parts:
        raise InputError(f"no {split!r} problem of {names} fits the windows: {_why(left_out)}")
    joined = {kind: batches.join(members) for kind, members in parts.items()}
    return TrainingPool(joined, "+".join(corpus.fingerprint for corpus in corpora), left_out)


Place = tuple[int, int]  # number of a corpus, row of a split


def places(corpora: Sequence[Corpus], split: str, found: TrainingPool) -> dict[str, dict[str, list[Place]]]:
    """Row numbers of the usable problems of a split, by kind and source: a prepared corpus holds several sources."""
    by_kind: dict[str, dict[str, list[Place]]] = {}
    for number, corpus in enumerate(corpora):
        if corpus.source not in found.left_out:
            continue
        rows = record_files.read_questions(corpus.directory, split)
        for kind, indices in found.left_out[corpus.source].indices.items():
            for row in indices:
                by_kind.setdefault(kind, {}).setdefault(rows[row].source, []).append((number, row))
    return by_kind


def spread(groups: Mapping[str, Sequence[Item]], weights: Mapping[str, int]) -> list[Item]:
    """Members of all groups in turn, in their order and in the proportion of the weights, until a group has no more.

    Any sum(weights) consecutive ones hold each group as often as its weight says.
    """
    end = min((len(items) / weights[name] for name, items in groups.items()), default=0)
    turns = [((i + 0.5) / weights[name], item) for name, items in groups.items() for i, item in enumerate(items)]
    return [item for turn, item in sorted(turns, key=lambda pair: pair[0]) if turn < end]


def _split_names(corpora: Sequence[Corpus]) -> str:
    return ", ".join(sorted({name for corpus in corpora for name in corpus.splits}))


def _why(left_out: Mapping[str, LengthFilter]) -> str:
    reasons = [f"{len(ids)} x {reason}" for found in left_out.values() for reason, ids in found.removed.items()]
    return "; ".join(reasons) + "; raise data.prompt_tokens or data.answer_tokens"

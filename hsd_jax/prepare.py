"""Builds, decontaminates and describes datasets.

python -m hsd_jax.prepare fetch          --source gsm8k                      download pinned files and check them
python -m hsd_jax.prepare build          --sources gsm8k+math --out DIR      one training set, with a data card
python -m hsd_jax.prepare decontaminate  --sources gsm8k --against math500   only report what an evaluation set shares
python -m hsd_jax.prepare describe       --sources gsm8k                     counts, licenses, what was removed
python -m hsd_jax.prepare difficulty     --checkpoint DIR --sources gsm8k    pass rate of every question for a model

`build` reads the sources (files in --path, or in --path/<source> where there are several), removes duplicates,
questions that an evaluation set shares and over-long prompts, and writes array_record files that training reads with
`--data.source prepared --data.path DIR`. Nothing is removed without being counted in the card.
"""

import dataclasses
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.table import Table

from hsd_jax.data import chat_template
from hsd_jax.data.batches import Corpus
from hsd_jax.data.corpora import load_all
from hsd_jax.data.curation import build as dataset
from hsd_jax.data.curation import card, download, filters
from hsd_jax.data.curation.card_table import show_card, show_files, show_unmatched
from hsd_jax.data.curation.decontamination import Rules, build_index, find
from hsd_jax.data.problems import Problem
from hsd_jax.data.record_files import damage_refused
from hsd_jax.data.sources import raw_directory, read_card
from hsd_jax.data.tokenization import Windows
from hsd_jax.errors import EXIT_DONE, InputError
from hsd_jax.evaluation.difficulty import measure
from hsd_jax.evaluation.settings import EvalConfig, check
from hsd_jax.runtime import cli, paths
from hsd_jax.setup.tokenizer import read_tokenizer

ANSWER_WINDOW = 1024


@dataclass(frozen=True)
class Fetch:
    """Download the pinned files of a source."""

    source: str
    """Name of a source."""
    out: Annotated[str, paths.GIVEN] = ""
    """Directory; empty: where the other commands look for it."""


@dataclass(frozen=True)
class Build:
    """Make one training set."""

    sources: str
    """Sources joined by +, in the order of their priority among duplicates."""
    out: Annotated[str, paths.GIVEN]
    """Directory of the dataset; must not exist."""
    path: Annotated[str, paths.GIVEN] = ""
    """Directory of the files, or of one directory per source; empty: where `fetch` puts them."""
    fields: str = ""
    """Where the fields of jsonl rows stand, if named otherwise: question=prompt.0.content,answer=target."""
    against: str = ""
    """Evaluation sets joined by + that must not occur in the training set, besides the sources' own test splits."""
    against_path: Annotated[str, paths.GIVEN] = ""
    """Directory of one directory per evaluation set; empty: where `fetch` puts them."""
    strict: bool = False
    """Remove every question that shares any run of 13 words with an evaluation set."""
    tokenizer: Annotated[str, paths.GIVEN] = ""
    """A Hugging Face directory whose tokenizer measures prompts; empty: no prompt is too long."""
    prompt_tokens: int = 1024
    """The longest prompt that stays, with the tokenizer's chat template."""
    workers: int = 2
    """Processes that compare answers."""


@dataclass(frozen=True)
class Decontaminate:
    """Report which training questions an evaluation set shares; removes nothing."""

    sources: str
    """Sources joined by +."""
    against: str
    """Evaluation sets joined by +."""
    path: Annotated[str, paths.GIVEN] = ""
    """Directory of the files, or of one directory per source; empty: where `fetch` puts them."""
    fields: str = ""
    """Where the fields of jsonl rows stand, if named otherwise: question=prompt.0.content,answer=target."""
    against_path: Annotated[str, paths.GIVEN] = ""
    """Directory of the evaluation set's files, or of one directory per set; empty: where `fetch` puts them."""
    strict: bool = False
    """Report every question that shares any run of 13 words."""
    out: Annotated[str, paths.GIVEN] = "contamination.jsonl"
    """File of all matches, one JSON object per line."""
    workers: int = 2
    """Processes that compare answers."""


@dataclass(frozen=True)
class Describe:
    """Show what a dataset holds."""

    sources: str
    """Sources joined by +, or prepared."""
    path: Annotated[str, paths.GIVEN] = ""
    """Directory of the files, or of one directory per source; empty: where `fetch` puts them."""
    fields: str = ""
    """Where the fields of jsonl rows stand, if named otherwise: question=prompt.0.content,answer=target."""


@dataclass(frozen=True)
class Difficulty:
    """Measure the pass rate of every question for a model and keep it with the data."""

    asking: Annotated[EvalConfig, tyro.conf.arg(name="")] = field(metadata={"flat": True})
    """How the model is asked."""
    sources: str = tyro.MISSING
    """Sources joined by +, or prepared."""
    path: Annotated[str, paths.GIVEN] = ""
    """Directory of the files, or of one directory per source; empty: where `fetch` puts them."""
    fields: str = ""
    """Where the fields of jsonl rows stand, if named otherwise: question=prompt.0.content,answer=target."""
    split: str = "train"
    """Which questions."""
    problems: int = 0
    """Ask only this many of each source, the first ones; 0: all."""


def _rated(corpora: Sequence[Corpus], split: str) -> Iterator[Problem]:
    # Through the corpus and not `assembly.problems`: measured pass rates are joined there.
    for corpus in corpora:
        rows = corpus.splits.get(split, [])
        yield from (rows[i] for i in range(len(rows)))


def fetch(given: Fetch, screen: Console) -> None:
    """Downloads and checks the files of a source."""
    directory = Path(given.out) if given.out else raw_directory(given.source)
    paths.check_writable(directory, "--out")
    for file in download.fetch(given.source, directory):
        screen.print(f"{file}  {file.stat().st_size:,} bytes, checksum agrees", highlight=False)


def build(given: Build, screen: Console) -> None:
    """Reads, removes, writes, and writes the card."""
    out = Path(given.out)
    if out.exists():
        raise InputError(f"--out: {out} exists; name another directory or delete it")
    paths.check_writable(out, "--out")
    corpora = _corpora(given.sources, given.path, given.fields)
    evaluation = _evaluation(given.against, given.against_path)
    ledger = filters.Ledger()
    asked = [*dataset.problems(corpora, "test"), *dataset.problems(evaluation, "test")]
    index = build_index(asked, Rules(strict=given.strict))
    facts = {
        "command": "python -m hsd_jax.prepare build " + shlex.join(_as_flags(given)),
        "prompt_tokens": given.prompt_tokens if given.tokenizer else "not measured: no --tokenizer",
    }
    with dataset.compared_answers(given.workers) as same_answer:
        stages: list[filters.Stage] = [filters.without_duplicates, filters.payable]
        if index.items:
            stages.append(filters.decontaminated(index, same_answer, ledger))
        if given.tokenizer:
            stages.append(_fitting(given))
        page = dataset.write(out, corpora, stages, index=index, ledger=ledger, facts=facts)
    show_card(page, screen)
    screen.print(f"card: {out / card.TEXT}; train with --data.source prepared --data.path {out}", highlight=False)


def _fitting(given: Build) -> filters.Stage:
    tokenizer = read_tokenizer(given.tokenizer)
    windows = Windows(given.prompt_tokens, ANSWER_WINDOW, 0, {"math": 1, "code": 1})
    return filters.fitting(tokenizer, chat_template.load_chat_template(tokenizer), windows)


def decontaminate(given: Decontaminate, screen: Console) -> None:
    """Reports the matches of training questions with evaluation sets."""
    paths.check_writable_file(given.out, "--out")
    evaluation = _evaluation(given.against, given.against_path)
    index = build_index(dataset.problems(evaluation, "test"), Rules(strict=given.strict))
    corpora = _corpora(given.sources, given.path, given.fields)
    with dataset.compared_answers(given.workers) as same_answer:
        found = [find(index, problem, same_answer) for problem in dataset.problems(corpora, "train")]
    matches = [match for match in found if match]
    dataset.write_matches(Path(given.out), matches)
    table = Table("evaluation set", "rule", "questions", title=f"{len(matches)} of {len(found)} training questions")
    for row in card.of_contamination(index, matches)["matches"]:
        table.add_row(row["evaluation"], row["rule"], str(row["removed"]))
    screen.print(table)
    screen.print(f"{len(matches) / max(len(found), 1):.4%} flagged; all matches: {given.out}", highlight=False)


def describe(given: Describe, screen: Console) -> None:
    """Shows every file with its split, counts by source, kind and difficulty, what was removed, and useless answers."""
    corpora = _corpora(given.sources, given.path, given.fields)
    names = sorted({name for corpus in corpora for name in corpus.splits})
    with damage_refused(corpora[0].directory):  # what a dataset says of itself comes with it from anywhere
        page = {
            "splits": {name: card.of_problems(_rated(corpora, name)) for name in names},
            "sources": card.of_sources(corpora),
            "removed": {},
        }
        if given.sources == "prepared":
            page = read_card(Path(given.path)) | {"splits": page["splits"]}
        show_files(page["sources"], screen)
        show_card(page, screen)
    show_unmatched({name: card.of_unmatched(_rated(corpora, name)) for name in names}, screen)


def difficulty(given: Difficulty, screen: Console) -> None:
    """Asks the model every question and keeps the counts of right answers next to each corpus."""
    check(given.asking)
    measure(given.asking, _corpora(given.sources, given.path, given.fields), given.split, screen, first=given.problems)


def _corpora(names: str, path: str, fields: str) -> list[Corpus]:
    return load_all(names, Path(path) if path else None, fields=fields)


def _evaluation(names: str, path: str) -> list[Corpus]:
    corpora = load_all(names, Path(path) if path else None) if names else []
    for corpus in corpora:
        if "test" not in corpus.splits:
            raise InputError(f"--against: {corpus.source} has no test split; it has {', '.join(corpus.splits)}")
    return corpora


def _as_flags(given: Any) -> list[str]:
    words = []
    for name, value in dataclasses.asdict(given).items():
        if value not in ("", False):
            words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return words


COMMANDS: dict[str, tuple[Any, Callable[[Any, Console], None]]] = {
    "fetch": (Fetch, fetch),
    "build": (Build, build),
    "decontaminate": (Decontaminate, decontaminate),
    "describe": (Describe, describe),
    "difficulty": (Difficulty, difficulty),
}


def main(argv: Sequence[str]) -> int:
    """The command: its first word names what is done."""
    if not argv or argv[0] in ("-h", "--help"):
        print(__doc__)
        return EXIT_DONE
    if argv[0] not in COMMANDS:
        raise InputError(f"prepare: the first word must be one of {', '.join(COMMANDS)}; got {argv[0]!r}")
    kind, do = COMMANDS[argv[0]]
    default = Difficulty(EvalConfig(checkpoint=tyro.MISSING, samples=32)) if kind is Difficulty else None
    given = cli.parse(kind, argv[1:], default=default, command=f"prepare {argv[0]}", about=kind.__doc__ or "")
    for name in ("path", "against_path", "out", "tokenizer"):
        paths.check_local(getattr(given, name, ""), f"--{name.replace('_', '-')}")
    do(given, cli.tables())
    return EXIT_DONE


if __name__ == "__main__":
    cli.run(main)

"""The data card: what a dataset is made of, what was removed and why, as Markdown and as JSON."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hsd_jax.data.batches import Corpus
from hsd_jax.data.curation.decontamination import Index, Match
from hsd_jax.data.difficulty import bin_of
from hsd_jax.data.problems import Problem
from hsd_jax.data.record_files import BUILDER_VERSION, EXAMPLES_KEPT
from hsd_jax.data.sources import SOURCES
from hsd_jax.data.usable import unmatched

FILE, TEXT = "card.json", "README.md"
PACKAGES = ("tensorflow-datasets", "array_record", "grain", "math-verify", "numpy")


def of_sources(corpora: Sequence[Corpus]) -> list[dict[str, Any]]:
    """Each corpus with its license, fingerprint, and rows kept and removed when it was read."""
    return [
        {
            "source": corpus.source,
            "license": SOURCES[corpus.source].license if corpus.source in SOURCES else "see the card of its sources",
            "fingerprint": corpus.fingerprint,
            "read": {
                split: {"kept": told["kept"], "removed": told["removed"], "examples": told["examples"]}
                for split, told in corpus.removed.items()
            },
            "files": [dict(file) for file in corpus.read],
            "left_out": dict(corpus.left_out),
        }
        for corpus in corpora
    ]


def of_problems(problems: Iterable[Problem]) -> dict[str, Any]:
    """Counts by source, kind and difficulty, and how long questions are."""
    rows = [(p.source, p.kind, bin_of(p.difficulty), len(p.question)) for p in problems]
    lengths = sorted(length for *_, length in rows)
    middle = {f"{q} %": lengths[min(len(lengths) - 1, len(lengths) * q // 100)] for q in (50, 95, 100)} if rows else {}
    return {
        "problems": len(rows),
        "by_source": dict(Counter(source for source, *_ in rows)),
        "by_kind": dict(Counter(kind for _, kind, *_ in rows)),
        "by_difficulty": dict(Counter(name for _, _, name, _ in rows)),
        "question_characters": middle,
    }


def of_unmatched(problems: Iterable[Problem]) -> dict[str, list[str]]:
    """The ids of mathematical questions that no response can answer, by reason."""
    found: dict[str, list[str]] = {}
    for problem in problems:
        if problem.kind == "math" and (reason := unmatched(problem.answer)):
            found.setdefault(reason, []).append(problem.id)
    return found


def of_contamination(index: Index, matches: Sequence[Match]) -> dict[str, Any]:
    """The evaluation sets, the rules, matches per set and rule, and the shared phrases that did not count."""
    items = Counter(item.problem.source for item in index.items)
    found = Counter((match.item_source, match.rule) for match in matches)
    return {
        "evaluation_items": dict(items),
        "rules": asdict(index.rules),
        "matches": [{"evaluation": s, "rule": r, "removed": n} for (s, r), n in sorted(found.items())],
        "examples": [asdict(match) for match in matches[: 4 * EXAMPLES_KEPT]],
        "shared_phrases": list(index.boilerplate[:50]),
    }


def versions() -> dict[str, str]:
    """The versions that a rebuild must have to give the same bytes."""
    return {"builder": BUILDER_VERSION} | {name: version(name) for name in PACKAGES}


def write(directory: Path, card: Mapping[str, Any]) -> None:
    """Writes the card next to the data, for programs and for people."""
    (directory / FILE).write_text(json.dumps(card, indent=1, ensure_ascii=False), encoding="utf-8")
    (directory / TEXT).write_text(markdown(card), encoding="utf-8")


def markdown(card: Mapping[str, Any]) -> str:
    """The card as a page."""
    parts = ["# Data card", "", f"Fingerprint `{card['fingerprint']}`. Made by `{card['command']}`.", ""]
    for split, told in card["splits"].items():
        parts += [f"## Split {split}: {told['problems']} problems", ""]
        parts += _table(("source", "problems"), told["by_source"].items())
        parts += _table(("kind", "problems"), told["by_kind"].items())
        parts += _table(("difficulty", "problems"), told["by_difficulty"].items())
    parts += ["## Sources", ""]
    parts += _table(
        ("source", "license", "split", "kept", "removed on reading"),
        (
            (s["source"], s["license"], split, told["kept"], _counts(told["removed"]))
            for s in card["sources"]
            for split, told in s["read"].items()
        ),
    )
    parts += ["## Files", ""]
    files = [(s["source"], f["file"], f["split"], f["rows"]) for s in card["sources"] for f in s.get("files", ())]
    parts += _table(("source", "file", "split", "rows"), files)
    left_out = [(s["source"], file, why) for s in card["sources"] for file, why in s.get("left_out", {}).items()]
    parts += _table(("source", "file left out", "reason"), left_out) if left_out else []
    parts += ["## Removed while preparing", ""]
    for split, told in card["removed"].items():
        parts += _table((f"reason ({split})", "rows"), told["removed"].items())
        parts += [f"- {reason}: `{_short(e)}`" for reason, examples in told["examples"].items() for e in examples[:2]]
        parts.append("")
    parts += _contamination(card.get("contamination"))
    parts += ["## Versions", "", _counts(card["versions"]), ""]
    return "\n".join(parts)


def _contamination(told: Mapping[str, Any] | None) -> list[str]:
    if not told:
        return ["## Contamination", "", "Not checked: no evaluation set was given.", ""]
    rows = ((m["evaluation"], m["rule"], m["removed"]) for m in told["matches"])
    parts = [
        "## Contamination",
        "",
        f"Compared with {_counts(told['evaluation_items'])}. Rules: `{told['rules']}`.",
        "",
    ]
    return [*parts, *_table(("evaluation set", "rule", "removed"), rows), "All matches: `contamination.jsonl`.", ""]


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    lines = ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return [
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *(lines or ["| none |" + " |" * (len(head) - 1)]),
        "",
    ]


def _counts(counts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in counts.items()) or "nothing"


def _short(example: Mapping[str, str]) -> str:
    return f"{example['id']} {example['text']}".replace("\n", " ").replace("`", "'")[:160]

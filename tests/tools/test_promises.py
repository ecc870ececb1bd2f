"""What the documents promise: every such sentence stands in docs/reliability.md beside a test that exists."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT

DOCS = ROOT / "docs"
WORDS = re.compile(r"\b(same|exact|exactly|never|always)\b", re.IGNORECASE)
WHOLE_PAGES = ("reliability.md", "verification.md")  # the list itself, and rules that are tables of tests
MADE = re.compile(r"<!-- made by .*?<!-- end -->", re.DOTALL)  # from rows and docstrings; test_methods.py holds it
ROW = re.compile(r"^\| (\S+\.md) \| “(.+)” \| (.+) \| (any|float32|bfloat16|-) \|$", re.MULTILINE)


def promises() -> list[tuple[str, str, str]]:
    """(page, words that it says, test) of every row of the list."""
    text = (DOCS / "reliability.md").read_text()
    return [(page, said.replace("\\|", "|"), test) for page, said, test, _ in ROW.findall(text)]


def sentences(page: Path) -> Iterator[str]:
    """The sentences and table rows of a page that hold such a word, each on one line."""
    joined = re.sub(r"\n(?=[^\n|#])", " ", MADE.sub("", page.read_text()))
    for line in joined.splitlines():
        for sentence in [line] if line.startswith("|") else re.split(r"(?<=[.;:])\s+(?=\S)", line):
            if WORDS.search(sentence):
                yield " ".join(sentence.split())


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted(DOCS.glob("*.md"))], ids=lambda page: page.name)
def test_every_promise_has_its_test(page: Path) -> None:
    said = [words for name, words, _ in promises() if name == page.name]
    missing = [one for one in sentences(page) if not any(words in one for words in said)]
    assert page.name in WHOLE_PAGES or not missing, "name a test for it in docs/reliability.md, or say it otherwise"


def test_what_is_listed_is_said_and_tested() -> None:
    for name, words, test in promises():
        page = ROOT / name if name == "README.md" else DOCS / name
        assert name in WHOLE_PAGES or "tests/" not in test or words in " ".join(page.read_text().split()), (name, words)
    for test in set(re.findall(r"`(tests/[^`]*)`", (DOCS / "reliability.md").read_text())):
        path, _, function = test.partition("::")
        assert (ROOT / path).exists(), test
        assert not function or re.search(rf"def {function}\b", (ROOT / path).read_text()), test

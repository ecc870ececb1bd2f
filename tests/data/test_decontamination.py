"""Decontamination: planted copies are found, different questions are not, whatever the typesetting."""

import dataclasses
import random
import re

import pytest

from hsd_jax.data.curation import decontamination, ngrams
from hsd_jax.data.curation.decontamination import Rules, build_index, find
from hsd_jax.data.problems import Problem
from hsd_jax.data.sources import load
from tests.support.paths import CORPORA

PEOPLE = "Amara Benno Chidi Dilnoza Eero Fatima Goran Hanako Ines Jorma".split()
THINGS = "kites lanterns teapots maps ropes bells baskets rugs flutes saddles".split()
PLACES = "harbour orchard bakery library quarry monastery ferry theatre vineyard forge".split()


def story(rng: random.Random) -> Problem:
    a, b, c, d = (rng.randrange(3, 90) for _ in range(4))
    who, other = rng.sample(PEOPLE, 2)
    thing, place = rng.choice(THINGS), rng.choice(PLACES)
    middle = rng.choice(
        [
            f"Every market day {who} carries {a} {thing} from the {place} and sells {b} of them before noon.",
            f"The {place} keeps {a} crates with {b} {thing} in each, and {who} counts all of them twice.",
            f"In spring {who} repaired {a} {thing} for the {place}, and in autumn {b} more were brought back.",
        ]
    )
    end = rng.choice(
        [
            f"{other} then gives {c} away and buys {d} new ones. How many {thing} are there at the end?",
            f"After {c} weeks {other} wants to pay {d} coins for each. How many coins does {other} need in all?",
            f"If {other} splits them among {c} friends and keeps {d}, how many does each friend get?",
        ]
    )
    return Problem("", "stories", "math", f"{middle} {end}", str(a * b + c * d))


@pytest.fixture(scope="module")
def stories():
    rng = random.Random(7)
    made = {story(rng).question: None for _ in range(700)}
    rng = random.Random(7)
    problems = {p.question: p for p in (story(rng) for _ in range(700))}
    assert len(made) == len(problems)
    return [dataclasses.replace(p, id=f"s{i}") for i, p in enumerate(problems.values())]


def same(gold: str, given: str) -> bool:
    return gold == given


def typeset(question: str) -> str:
    return re.sub(r"\d+", lambda m: f"${m.group()}$", question).upper().replace(". ", " .\n\n").replace(",", " ,")


def reworded(question: str) -> str:
    swaps = {
        "How many": "What is the number of",
        "sells": "is able to sell",
        "of them": "of those",
        "gives": "hands",
        "buys": "purchases",
        "repaired": "mended",
        "were brought back": "came back to the shop",
        "counts": "checks",
        "in all": "altogether",
        "wants to pay": "would like to spend",
        "splits": "divides",
        "Every": "On each",
    }
    for old, new in swaps.items():
        question = question.replace(old, new)
    first, _, rest = question.partition(". ")
    return f"Here is a riddle. {rest} Before that, {first[0].lower()}{first[1:]}."


def inside(question: str) -> str:
    words = question.split()
    return "A note was found in an old book: " + " ".join(words[3:20]) + " and the rest of the page was torn out."


@pytest.mark.parametrize("change", [lambda q: q, typeset, reworded, inside, lambda q: f"Solve this. {q} Be brief."])
def test_planted_copies_are_found(stories, change):
    index = build_index(stories[:200])
    planted = [dataclasses.replace(p, id="t", question=change(p.question)) for p in stories[:200]]
    found = [find(index, p, same) for p in planted]
    assert sum(match is not None for match in found) >= 0.95 * len(planted)
    right = [m.item_id == p.id for m, p in zip(found, stories[:200], strict=True) if m]
    assert sum(right) >= 0.95 * len(right)


SUBJECTS = "triangle lattice polynomial deck carpet tournament staircase tank clock bookshelf parade mosaic".split()
DOINGS = "rotates shrinks doubles meets crosses paints hides weighs trades lifts scatters measures borrows".split()
CLOSE = (
    "The result can be written as $\\frac{m}{n}$, where $m$ and $n$ are relatively prime positive integers. Find $m+n$."
)


def different(rng: random.Random, number: int) -> Problem:
    def clause() -> str:
        who, what = rng.choice(PEOPLE), rng.choice(SUBJECTS)
        return f"{who} {rng.choice(DOINGS)} {rng.randrange(2, 999)} {rng.choice(THINGS)} near the {what}"

    body = f"{clause()}, while {clause()}. After that {clause()}."
    return Problem(f"d{number}", "other", "math", f"{body} {CLOSE}", str(rng.randrange(2, 40)))


def test_different_questions_are_left_alone(stories):
    rng = random.Random(1)
    others = [different(rng, number) for number in range(2000)]
    index = build_index([*stories[:200], *others[:100]])
    assert any("relatively prime positive integers" in phrase for phrase in index.boilerplate)
    flagged = [match for p in others[100:] if (match := find(index, p, same))]
    assert len(flagged) <= 0.001 * 1900, flagged
    other_answers = [dataclasses.replace(p, id="t", answer="-1") for p in stories[200:]]
    copied = [match for p in other_answers if (match := find(index, p, same)) and match.rule in ("near", "numbers")]
    assert not copied, "questions of one template with other numbers and answers are other questions"


def test_one_shared_contest_phrase_is_not_contamination_unless_strict():
    close = "can be written as m/n, where m and n are relatively prime positive integers. Find m+n."
    item = Problem(
        "e", "aime", "math", f"The sum of all roots of the quartic over the lattice of Eisenstein {close}", "7"
    )
    row = Problem(
        "t", "x", "math", f"A frog hops between lily pads until it has visited them all; its chance {close}", "7"
    )
    assert find(build_index([item]), row, same) is None
    assert find(build_index([item], Rules(strict=True)), row, same) is not None


def test_equal_answers_alone_are_nothing_and_near_copies_need_them():
    item = Problem("e", "x", "math", "Nora walks 3 miles to the lake and back each day for a week of 7 days.", "42")
    index = build_index([item])
    near = "Nora walks 3 miles to the lake and back on every day of a long week of 7 days."
    assert find(index, Problem("t", "x", "math", near, "42"), same).rule in ("near", "numbers")
    assert find(index, Problem("t", "x", "math", near, "41"), same) is None
    assert find(index, Problem("t", "x", "math", "What is 6 times 7?", "42"), same) is None


def test_short_questions_differ_by_their_operators():
    index = build_index([Problem("e", "x", "math", "Compute $3+4$.", "7")])
    assert find(index, Problem("t", "x", "math", "compute 3 + 4", "7"), same).rule == "stem"
    assert find(index, Problem("t", "x", "math", "Compute $3-4$.", "-1"), same) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (r"Compute $\dfrac{1}{2}\cdot x$", r"compute \( \frac12 * x \)"),
        (r"Let $\left(a,b\right)$ be 1{,}000", "let (a, b) be 1,000"),
        (r"If $x\leq 3$ and \text{two} cats", "If x ≤ 3 and 2 cats"),
        (r"an angle of $30^\circ$", "An angle of 30°"),
        ("ﬁve “quoted” words — and more", "five quoted words - and more"),
    ],
)
def test_typesetting_does_not_matter(one, other):
    assert ngrams.tokens(one) == ngrams.tokens(other)


def test_a_programming_problem_is_known_by_its_statement_or_a_name():
    body = "The ferry takes one more traveller for every request it gets, and prints the number."
    item = Problem("e", "lcb", "code", f"{body}\n\n-----Input-----\nOne integer.", "", names=("abc390_a",))
    index = build_index([item])
    copy = Problem("t", "apps", "code", f"{body}\n\nSample Input 1\n\n3\n", "")
    named = Problem("t", "apps", "code", "Something else entirely is asked here.", "", names=("ABC390_A",))
    other = Problem("t", "apps", "code", "Sort the cards.\n\n-----Input-----\nOne integer.", "")
    assert find(index, copy, same).rule == "stem" and find(index, named, same).rule == "name"
    assert find(index, other, same) is None


@pytest.mark.skipif(not (CORPORA / "gsm8k").is_dir(), reason=f"GSM8K is not in {CORPORA}")
def test_gsm8k_train_is_clean_of_its_test_set(tmp_path):
    corpus = load("gsm8k", CORPORA / "gsm8k", cache=tmp_path)
    train, held_out = ([rows[i] for i in range(len(rows))] for rows in (corpus.splits["train"], corpus.splits["test"]))
    index = build_index(held_out)
    flagged = sum(find(index, problem, same) is not None for problem in train)
    assert flagged <= 0.001 * len(train)
    for change in (lambda q: q, typeset, reworded):
        planted = [dataclasses.replace(p, id="t", question=change(p.question)) for p in held_out[::4]]
        found = sum(find(index, problem, same) is not None for problem in planted)
        assert found >= 0.95 * len(planted)


def test_the_index_is_pure():
    problems = [Problem(f"e{i}", "x", "math", f"Question number {i} about rivers", str(i)) for i in range(3)]
    assert build_index(problems) == build_index(problems)
    assert decontamination.story_numbers(decontamination.read(problems[2])) == ("2",)

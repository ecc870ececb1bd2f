"""Finds questions of an evaluation set among training problems.

A training problem is contaminated if one of these holds for some evaluation item:

    stem      the same words in the same order (with operators too, where the question is short)
    13-gram   >= 10 % of the item's runs of 13 words occur in it, or one run of which at least 4 words are telling;
              runs that several items share, and ordinary contest phrases, do not count
    whole     a short item (8 to 12 words, some of them telling) stands in it as a whole
    near      >= 50 % of the item's runs of 3 words occur in it (ordinary ones do not count), most of the numbers
              agree, and the answers are equal
    numbers   the same numbers, equal answers, and a share of the item's telling words (a paraphrase)
    name      another corpus's name of the same problem (address, title, contest number)

Equality of answers is never enough by itself: two thirds of GSM8K's answers are also answers of MATH-500.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hsd_jax.data.curation import ngrams
from hsd_jax.data.problems import Problem

SameAnswer = Callable[[str, str], bool]


@dataclass(frozen=True)
class Rules:
    """The thresholds. `strict` flags any shared run of `gram` words, as the paper's wording would have it."""

    gram: int = 13
    gram_share: float = 0.10
    boilerplate_items: int = 2
    near_gram: int = 3
    near_share: float = 0.5
    short_words: int = 8
    tells_little: int = 2
    tells_much: int = 4
    strict: bool = False


@dataclass(frozen=True)
class Item:
    """An evaluation question, read once."""

    problem: Problem
    tokens: tuple[str, ...]
    words: tuple[str, ...]


@dataclass(frozen=True)
class Index:
    """Evaluation items by everything that a copy could share with them under `rules`; values are item numbers."""

    rules: Rules
    items: tuple[Item, ...]
    stems: Mapping[tuple[str, ...], int]
    names: Mapping[str, int]
    grams: Mapping[int, tuple[int, ...]]
    gram_counts: tuple[int, ...]
    telling: frozenset[int]
    whole: Mapping[int, Mapping[int, int]]
    near: Mapping[int, tuple[int, ...]]
    near_counts: tuple[int, ...]
    numbers: Mapping[tuple[str, ...], tuple[int, ...]]
    told: tuple[Mapping[str, float], ...]
    boilerplate: tuple[str, ...]


@dataclass(frozen=True)
class Match:
    """A contaminated training problem: with which item, by which rule, and how strongly (1 = whole)."""

    problem_id: str
    item_id: str
    item_source: str
    rule: str
    score: float


def read(problem: Problem) -> Item:
    """The tokens of a question; of a programming problem, those of its statement without samples."""
    question = ngrams.statement(problem.question) if problem.kind == "code" else problem.question
    found = ngrams.tokens(question)
    return Item(problem, found, ngrams.words(found))


def build_index(evaluation: Iterable[Problem], rules: Rules = Rules()) -> Index:
    """The index of one or more evaluation sets together."""
    items = tuple(read(problem) for problem in evaluation)
    every = _owners(ngrams.grams(item.words, rules.gram) for item in items)
    telling = [ngrams.telling_grams(item.words, rules.gram, rules.tells_little) for item in items]
    shared = {gram for gram, owners in every.items() if len(owners) >= rules.boilerplate_items}
    counted = every if rules.strict else _owners(grams - shared for grams in telling)
    much = {gram for item in items for gram in ngrams.telling_grams(item.words, rules.gram, rules.tells_much)}
    near = [ngrams.telling_grams(item.words, rules.near_gram, 1) for item in items]
    return Index(
        rules=rules,
        items=items,
        stems={stem(item, rules): number for number, item in reversed(list(enumerate(items))) if item.tokens},
        names={name.lower(): number for number, item in enumerate(items) for name in item.problem.names},
        grams=counted,
        gram_counts=tuple(len(grams) for grams in telling),
        telling=frozenset(much - shared),
        whole=_whole(items, rules),
        near=_owners(near),
        near_counts=tuple(map(len, near)),
        numbers=_owners(_number_keys(story_numbers(item)) for item in items),
        told=_told_words(items),
        boilerplate=_spelled(items, shared, rules.gram),
    )


def _owners(keys_of_items: Iterable[Iterable[Any]]) -> dict[Any, tuple[int, ...]]:
    owners: dict[Any, list[int]] = defaultdict(list)
    for number, keys in enumerate(keys_of_items):
        for key in keys:
            owners[key].append(number)
    return {key: tuple(numbers) for key, numbers in owners.items()}


def _whole(items: tuple[Item, ...], rules: Rules) -> dict[int, dict[int, int]]:
    found: dict[int, dict[int, int]] = defaultdict(dict)
    for number, item in enumerate(items):
        size = len(item.words)
        if rules.short_words <= size < rules.gram and ngrams.tells(item.words) >= rules.tells_little:
            found[size][hash(item.words)] = number
    return dict(found)


def stem(item: Item, rules: Rules) -> tuple[str, ...]:
    """What two copies have equal: the words, and in a short question the operators too ("3+4" is not "3-4")."""
    return item.words if len(item.words) >= rules.short_words else item.tokens


def story_numbers(item: Item) -> tuple[str, ...]:
    """The different numbers of a question but 1, which is as often an article."""
    return tuple(sorted(set(ngrams.numbers(item.tokens)) - {"1"}))


def find(index: Index, problem: Problem, same_answer: SameAnswer) -> Match | None:
    """The first rule by which a training problem is contaminated, None if it is clean.

    `same_answer(evaluation answer, training answer)` is asked only for questions that look alike.
    """
    item = read(problem)
    found = (
        _by_stem(index, item)
        or _by_name(index, item)
        or _by_grams(index, item)
        or _by_whole(index, item)
        or _by_near(index, item, same_answer)
        or _by_numbers(index, item, same_answer)
    )
    if not found:
        return None
    number, rule, score = found
    match = index.items[number].problem
    return Match(problem.id, match.id, match.source, rule, round(score, 3))


Found = tuple[int, str, float] | None


def _by_stem(index: Index, item: Item) -> Found:
    number = index.stems.get(stem(item, index.rules))
    return None if number is None else (number, "stem", 1.0)


def _by_name(index: Index, item: Item) -> Found:
    numbers = (index.names.get(name.lower()) for name in item.problem.names)
    return next(((number, "name", 1.0) for number in numbers if number is not None), None)


def _by_grams(index: Index, item: Item) -> Found:
    rules = index.rules
    own = ngrams.grams(item.words, rules.gram)
    shares = _shares(index.grams, index.gram_counts, own)
    if not shares:
        return None
    number, share = shares[0]
    enough = rules.strict or share >= rules.gram_share or not index.telling.isdisjoint(own)
    return (number, f"{rules.gram}-gram", share) if enough else None


def _by_whole(index: Index, item: Item) -> Found:
    for size, owners in index.whole.items():
        hits = ngrams.grams(item.words, size) & owners.keys()
        if hits:
            return min(owners[gram] for gram in hits), "whole", 1.0
    return None


def _by_near(index: Index, item: Item, same_answer: SameAnswer) -> Found:
    if item.problem.kind != "math":
        return None
    for number, share in _shares(index.near, index.near_counts, ngrams.grams(item.words, index.rules.near_gram)):
        if share < index.rules.near_share:
            return None
        theirs = index.items[number]
        if _alike(story_numbers(theirs), story_numbers(item)) and same_answer(
            theirs.problem.answer, item.problem.answer
        ):
            return number, "near", share
    return None


def _alike(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    # One template with other numbers makes another question, even if the answers happen to agree.
    return 2 * len(set(one) & set(other)) >= len(set(one) | set(other))


def _by_numbers(index: Index, item: Item, same_answer: SameAnswer) -> Found:
    numbers = story_numbers(item)
    if item.problem.kind != "math" or not numbers:
        return None
    own = set(map(_root, item.words))
    alike = (number for key in _number_keys(numbers) for number in index.numbers.get(key, ()))
    for number in dict.fromkeys(alike):
        theirs = story_numbers(index.items[number])
        share = _told(index, number, own)
        enough = share >= _least_told(len(numbers), numbers == theirs)
        if enough and same_answer(index.items[number].problem.answer, item.problem.answer):
            return number, "numbers", share
    return None


def _number_keys(numbers: tuple[str, ...]) -> list[tuple[str, ...]]:
    """All the numbers; where there are three or more, also all but one, since a paraphrase may add or lose one."""
    fewer = [numbers[:i] + numbers[i + 1 :] for i in range(len(numbers))] if len(numbers) >= 3 else []
    return [numbers, *fewer] if numbers else []


def _least_told(count: int, equal: bool) -> float:
    # The more numbers agree, the fewer words must. On GSM8K train against test, no pair of different questions
    # with two or three equal numbers and equal answers shares more than .28 of its telling words.
    if not equal:
        return 0.4
    return {1: 0.45, 2: 0.3, 3: 0.3}.get(count, 0.15)


def _told(index: Index, number: int, words: set[str]) -> float:
    # The share of an item's telling words that a text has; a word tells the more, the fewer items use it.
    told = index.told[number]
    return sum(told[root] for root in told.keys() & words) / (sum(told.values()) or 1.0)


def _root(word: str) -> str:
    # Singular and plural, "sells" and "selling": enough for a share of words.
    return word[:5]


def _told_words(items: tuple[Item, ...]) -> tuple[dict[str, float], ...]:
    roots = [{_root(word) for word in item.words if not word[0].isdigit()} for item in items]
    counts = Counter(root for own in roots for root in own)
    rarity = {root: math.log((len(items) + 1) / (count + 0.5)) + 0.05 for root, count in counts.items()}
    return tuple({root: rarity[root] for root in own} for own in roots)


def _shares(owners: Mapping[int, tuple[int, ...]], totals: tuple[int, ...], grams: set[int]) -> list[tuple[int, float]]:
    """(item, share of its grams that are hit), the largest share first."""
    hits = Counter(number for gram in grams for number in owners.get(gram, ()))
    return sorted(
        ((number, count / max(totals[number], 1)) for number, count in hits.items()),
        key=lambda pair: (-pair[1], pair[0]),
    )


def _spelled(items: tuple[Item, ...], shared: set[int], size: int) -> tuple[str, ...]:
    runs = {
        " ".join(item.words[start : start + size])
        for item in items
        for start in range(max(1, len(item.words) - size + 1))
        if hash(item.words[start : start + size]) in shared
    }
    return tuple(sorted(runs))

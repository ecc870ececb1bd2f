"""Answers in words: texts that are compared word by word, letters of choices with or without their text."""

import re

from hsd_jax.verifiers.equivalence import tables
from hsd_jax.verifiers.equivalence.trees import Token, joined

_CHOICES = frozenset("ABCDEFGHIJ")
_STOPS = (")", ".", ":", ",", "]")
# operators that the text of a choice may begin with: what else follows its letter is no text
_BEGINNINGS = frozenset(
    r"( [ \{ | - \frac \sqrt \binom \$ € £ \infty \angle \log \ln \sin \cos \tan \R \emptyset \begin".split()
)
_CONDITIONS = tables.DENIALS | {"if", "when", "at", "mod"}
_BETWEEN_CHOICES = frozenset(["(", "[", *_STOPS, ";", "{", "}", "*", "and", "\\and", "&"])


def same_text(gold: list[Token], given: list[Token]) -> bool:
    """Whether two answers say the same words, but for a lead-in, an article and capitals."""
    wanted, said = _plain(gold), _plain(given)
    return wanted == said or len(wanted) > 1 and wanted.casefold() == said.casefold()


def _plain(found: list[Token]) -> str:
    end = len(found)
    while end and found[end - 1].text in (".", ",", ";", ":", "\\\\", "*"):
        end -= 1
    while end > 1 and found[end - 1].kind == "word" and found[end - 1].text.lower() in tables.HARMLESS["lead"]:
        end -= 1
    begin = 0
    while begin < end - 1 and _leads(found[begin], found[begin + 1]):
        begin += 1
    return "".join(joined(found[begin:end]).replace("{", "").replace("}", "").split())


def _leads(token: Token, following: Token) -> bool:
    if token.text in (":", "=", "*", "\\therefore"):
        return True
    article = token.text in ("a", "A") and following.kind == "word" and len(following.text) > 1
    return article or token.kind == "word" and token.text.lower() in tables.HARMLESS["lead"] and len(token.text) > 1


def choice(found: list[Token]) -> tuple[str, list[Token]] | None:
    """The letter of a choice and the tokens of its text: `(C) 42`, `B.`, `A`; None for any other answer."""
    texts = ["", *(token.text for token in found), ""]
    bold = [text == "*" and "*" in (texts[n - 1], texts[n + 1]) for n, text in enumerate(texts[1:-1], 1)]
    found = [token for token, star in zip(found, bold, strict=True) if token.text not in ("{", "}") and not star]
    begin = next(
        (
            n
            for n, token in enumerate(found)
            if token.kind != "word"
            or len(token.text) == 1
            or token.text.lower() not in tables.HARMLESS["lead"] | {"option", "choice"}
        ),
        0,
    )
    found = found[begin:]
    opened = bool(found) and found[0].text in ("(", "[")
    letter, rest = (found[1:2], found[2:]) if opened else (found[:1], found[1:])
    if (
        not letter
        or letter[0].text not in _CHOICES
        or rest
        and (rest[0].text not in _STOPS or opened and rest[0].text not in (")", "]"))
    ):
        return None
    while rest and rest[0].text in _STOPS:
        if rest[0].text == "," and rest[1:2] and rest[1].kind != "word":  # a list
            return None
        rest = rest[1:]
    return letter[0].text, rest


def choices(found: list[Token]) -> list[str] | None:
    """The letters of an answer that is several choices, `A, C`, `(A) and (C)`; None for any other answer."""
    named = [token.text for token in found if token.text not in _BETWEEN_CHOICES]
    apart = any(token.text in _BETWEEN_CHOICES for token in found)
    return named if len(named) > 1 and apart and _CHOICES.issuperset(named) else None


def is_label(found: list[Token]) -> bool:
    """Whether tokens may be the text of a choice: a formula, or a few words behind an article; none takes it back."""
    words = [token for token in found if token.kind == "word" and len(token.text) > 1]
    if any(
        token.text in _CHOICES and len(found) > 1 and not (n == 0 and words) or token.text in ("\\or", "\\and", "?")
        for n, token in enumerate(found)
    ):
        return False
    runs = re.findall(r"[a-z]+", "".join(f" {token.text}" if token.spaced else token.text for token in found).lower())
    if not _CONDITIONS.isdisjoint([*runs, *(token.text.lower() for token in words)]):
        return False
    if found and found[0].kind == "op" and found[0].text not in _BEGINNINGS:
        return False
    unknown = [token for token in words if tables.unit(token.text) is None and token.text.lower() not in tables.KNOWN]
    article = bool(found) and found[0].text.lower() in tables.ENGLISH_ARTICLES
    return not (len(found) == 1 and found[0].text in _CHOICES) and (not unknown or article and len(words) <= 6)


def same_choices(gold: list[str], given: list[str]) -> bool:
    """Whether both name the same letters; three or more in the order of the reference, as any list."""
    return gold == given or len(gold) == 2 and gold == given[::-1]


def same_choice(gold: tuple[str, list[Token]], given: tuple[str, list[Token]]) -> bool:
    """Whether both name one letter; a text that only one side adds must be a label that takes nothing back."""
    if gold[0] != given[0]:
        return False
    if not given[1] or gold[1] and same_text(gold[1], given[1]):
        return True
    return not gold[1] and is_label(given[1])

"""The one screen for chat markup: text that would end a turn, open another or close the thinking of a prompt.

Every text that enters a prompt passes it: questions, answers, solutions, tests, and what verifiers and models said.
What enters as ids, never decoded, is held against the ids of the same words.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

# Markup of the chat templates in use, whatever of it the tokenizer at hand knows.
THOUGHTS = ("<think>", "</think>")
GENERAL = ("<|im_start|>", "<|im_end|>", "<|endoftext|>", *THOUGHTS)
Markup = re.Pattern[str]


def markup_of(tokenizer: Any) -> Markup:
    """The control tokens of a tokenizer's vocabulary, and those of chat templates in general."""
    words = sorted({*tokenizer.get_added_vocab(), *GENERAL}, key=len, reverse=True)
    return re.compile("|".join(re.escape(word) for word in words if word.strip()))


def control_ids(tokenizer: Any, *, thinking: bool) -> tuple[int, ...]:
    """The ids of the same words, which no response may hold before its end; one that thinks may open and close that."""
    words = {*tokenizer.get_added_vocab(), *GENERAL} - {*(THOUGHTS if thinking else ())}
    known = tokenizer.get_vocab()
    return tuple(sorted(known[word] for word in words if word.strip() and word in known))


def holds_markup(markup: Markup, *values: Any) -> bool:
    """Whether any text within the values (texts, lists, mappings) holds a control token, also in wide letters."""
    return any(markup.search(text) or markup.search(unicodedata.normalize("NFKC", text)) for text in texts_in(values))


def texts_in(value: Any) -> Iterator[str]:
    """Every text of a value as JSON holds it, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from texts_in(key)
            yield from texts_in(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from texts_in(inner)

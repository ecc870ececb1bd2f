"""The one screen for chat markup: text that would end a turn, open another or close the thinking of a prompt.

Every text that enters a prompt passes it: questions, answers, solutions, tests, and what verifiers and models said.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

# Markup of the chat templates in use, whatever of it the tokenizer at hand knows.
GENERAL = ("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<think>", "</think>")
Markup = re.Pattern[str]


def markup_of(tokenizer: Any) -> Markup:
    """The control tokens of a tokenizer's vocabulary, and those of chat templates in general."""
    words = sorted({*tokenizer.get_added_vocab(), *GENERAL}, key=len, reverse=True)
    return re.compile("|".join(re.escape(word) for word in words if word.strip()))


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

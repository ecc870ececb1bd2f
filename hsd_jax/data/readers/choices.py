"""Questions with choices: the question shows them by letter, and the answer is a letter."""

from string import ascii_uppercase
from typing import Any

from hsd_jax.data.files import Row, shown
from hsd_jax.errors import InputError

ASKED = "Answer with the letter of the right choice."


def with_choices(row: Row) -> Row:
    """The row with its choices in the question; unchanged if it has none.

    `choices` is a list of texts, or {"text": [..], "label": [..]}; `answer` is one of the labels, a letter, or the text
    of one choice, in this order; or, as a number, its place counted from 0.
    Raises: InputError for choices that cannot be shown, and for an answer that is none of them, or a number where the
    labels are numbers too and name another choice.
    """
    given = row.get("choices", None)
    if given is None:
        return row
    texts, labels = _texts(row, given)
    letter = _letter(row, texts, labels)
    lines = "\n".join(f"({name}) {text.strip()}" for name, text in zip(ascii_uppercase, texts, strict=False))
    question = f"{row.text('question').strip()}\n\n{lines}\n\n{ASKED}"
    kept = {name: value for name, value in row.fields.items() if name != "choices"}
    return Row(kept | {"question": question, "answer": letter}, row.place)


def _texts(row: Row, given: Any) -> tuple[list[str], list[str]]:
    texts, labels = (given.get("text"), given.get("label")) if isinstance(given, dict) else (given, None)
    if not isinstance(texts, list) or not 2 <= len(texts) <= len(ascii_uppercase):
        raise InputError(
            f"{row.place}: field 'choices' must be a list of 2 to {len(ascii_uppercase)} texts, or such lists as 'text'"
            f" and 'label'; got {shown(given)}"
        )
    if any(not isinstance(text, str) or not text.strip() for text in texts) or len(set(texts)) < len(texts):
        raise InputError(f"{row.place}: field 'choices' must hold different texts; got {shown(texts)}")
    labels = list(ascii_uppercase[: len(texts)]) if labels is None else labels
    if not isinstance(labels, list) or len(labels) != len(texts):
        raise InputError(f"{row.place}: field 'choices' must have a label for each text; got {shown(labels)}")
    return texts, labels


def _letter(row: Row, texts: list[str], labels: list[str]) -> str:
    answer, letters = row.fields.get("answer"), list(ascii_uppercase[: len(texts)])
    if isinstance(answer, int) and not isinstance(answer, bool):
        places = {place for place, label in enumerate(labels) if str(label) == str(answer)} | {answer} & {
            *range(len(texts))
        }
        if len(places) > 1:
            raise InputError(
                f"{row.place}: field 'answer' is the number {answer}, and so is the label of another choice; give the"
                " label as text, or the text of the choice"
            )
        if places:
            return letters[places.pop()]
    for names in (labels, letters, texts):
        if answer in names:
            return letters[names.index(answer)]
    raise InputError(
        f"{row.place}: field 'answer' must be one of {', '.join(map(str, labels))}, a choice, or its number from 0;"
        f" got {shown(answer)}"
    )

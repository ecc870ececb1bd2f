r"""Reference answers that no response can ever match: every rollout of such a question would be unpaid, for no reason.

They are mostly accidents of files: a number that is none (NaN), a LaTeX command whose single backslash JSON read as a
control character ("\frac" became a form feed and "rac"), a brace that never closes, a text longer than what the
verifier reads of an answer.
"""

import re

from hsd_jax.verifiers import math
from hsd_jax.verifiers.equivalence.extraction import extract
from hsd_jax.verifiers.equivalence.tables import LONGEST_ANSWER

NO_NUMBERS = {"nan", "inf"}
_PLAIN = re.compile(r"-?\d{1,99}(?:\.\d{1,99})?")  # most answers; the rest of the tests costs half a millisecond
# \b and \f never occur in an answer; \t, \n and \r may stand between its parts, but not before the rest of a command.
_EATEN_BACKSLASH = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
    r"|\t(?:imes|ext(?:bf|it|rm|tt|degree)?|[bf]rac|heta|au|anh?|op|riangle[a-z]*|ilde|herefore|binom)(?![a-z])"
    r"|\n(?:eq|eg|abla|otin|mid|ot|leq|geq|less|gtr|cong|prec|succ|subseteq|parallel|exists|earrow|warrow)(?![a-z])"
    r"|\r(?:ho|ight[a-z]*|angle|ceil|floor|vert|m|oot|brace|brack|times)(?![a-z])"
    r"|\A\n[eiu](?![a-z])"
)


def tidy(answer: str) -> str:
    """The answer without white space around it, unless that is what became of a lost backslash."""
    return answer if _EATEN_BACKSLASH.search(answer) else answer.strip()


def unmatched(answer: str) -> str:
    """Why no response can match a reference answer, "" if one can."""
    if _PLAIN.fullmatch(answer):
        return ""
    if answer.strip().lower().lstrip("+-") in NO_NUMBERS:
        return "answer is no number (nan, inf)"
    if _EATEN_BACKSLASH.search(answer):
        return "answer holds a control character (a backslash was lost)"
    final = answer.rpartition("####")[2].strip(" \n$.,;")
    if len(final) > LONGEST_ANSWER and "\\boxed" not in final:
        return f"answer over the {LONGEST_ANSWER} characters that are read"
    gold = math.reference(answer)
    if gold is None or not final:
        return "answer holds nothing to compare"
    boxed = f"\\boxed{{{gold.text}}}"
    if extract(boxed) is None:
        return "answer cannot stand in a box (an unclosed brace)"
    verdict = math.grade_easy(boxed, answer)
    return "answer does not equal itself" if verdict is not None and verdict.reward < 1 else ""

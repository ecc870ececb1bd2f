r"""Reference answers that no response can ever match: every rollout of such a question would be unpaid, for no reason.

They are mostly accidents of files: a number that is none (NaN), a LaTeX command whose single backslash JSON read as a
control character ("\frac" became a form feed and "rac"), a brace that never closes, a text longer than what the
verifier reads of an answer.
"""

import re

from hsd_jax.data.readers.common import LOST_BACKSLASH
from hsd_jax.verifiers import math
from hsd_jax.verifiers.equivalence.extraction import extract
from hsd_jax.verifiers.equivalence.tables import LONGEST_ANSWER

NO_NUMBERS = {"nan", "inf"}
_PLAIN = re.compile(r"-?\d{1,99}(?:\.\d{1,99})?")  # most answers; the rest of the tests costs half a millisecond


def unmatched(answer: str) -> str:
    """Why no response can match a reference answer, "" if one can."""
    if _PLAIN.fullmatch(answer):
        return ""
    final = answer.rpartition("####")[2].strip(" \n$.,;")
    if final.lower().lstrip("+-") in NO_NUMBERS:
        return "answer is no number (nan, inf)"
    if LOST_BACKSLASH.search(answer):
        return "answer holds a control character (a backslash was lost)"
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

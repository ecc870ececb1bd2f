"""What a teacher may be told about a failed rollout: the verifier's words, as text.

It says what was found wrong and nothing of what would have been right; for programs it quotes a visible test, for a
verdict by hidden tests has no detail (`verifiers.code`).
"""

from collections import Counter
from collections.abc import Sequence

from hsd_jax.types import SUCCESS, Verdict

WRONG = "Its final answer {} is wrong."
NOT_RIGHT = "It is not right."
NO_ANSWER = "It gives no final answer."
UNPARSED = "Its final answer cannot be read."
TIMEOUT = "It takes too long."
CUT = "It is not finished."
FAILED = "It does not pass the tests."


def of_rollout(kind: str, verdict: Verdict, finished: bool) -> str:
    """One or two sentences on a failed rollout; empty where it succeeded, or where the check itself failed."""
    if verdict.reward > SUCCESS or verdict.reason == "crash":
        return ""
    said = [] if finished else [CUT]
    if verdict.reason in ("wrong", "unknown words"):
        said.append(verdict.detail or (FAILED if kind == "code" else _wrong(verdict)))
    elif verdict.reason == "timeout":
        said.append(TIMEOUT if kind == "code" else UNPARSED)
    else:
        said.append(UNPARSED if verdict.reason == "unparsed" else NO_ANSWER)
    return "\n".join(said)


def _wrong(verdict: Verdict) -> str:
    if verdict.extracted is None:
        return NOT_RIGHT
    return WRONG.format(" ".join((verdict.extracted or "").split()))


def of_groups(
    kinds: Sequence[str], verdicts: Sequence[Sequence[Verdict]], finished_PG: Sequence[Sequence[bool]]
) -> list[list[str]]:
    """`of_rollout` of every rollout of every group."""
    rows = zip(kinds, verdicts, finished_PG, strict=True)
    return [
        [of_rollout(kind, verdict, bool(done)) for verdict, done in zip(row, ends, strict=True)]
        for kind, row, ends in rows
    ]


def wrong_answers(kinds: Sequence[str], verdicts: Sequence[Sequence[Verdict]]) -> list[list[str]]:
    """A wrong final answer for every rollout: its own, or for a success the most frequent one of its group.

    Ties go to the first. Empty for failures without a readable answer, in groups without one, and for programs, which
    have none. Source: arXiv:2609.36742, released code.
    """
    return [
        _wrong_of_group(row) if kind == "math" else [""] * len(row) for kind, row in zip(kinds, verdicts, strict=True)
    ]


def _wrong_of_group(row: Sequence[Verdict]) -> list[str]:
    own = [" ".join((v.extracted or "").split()) if v.reason == "wrong" and v.reward <= SUCCESS else "" for v in row]
    counts = Counter(answer for answer in own if answer)
    usual = counts.most_common(1)[0][0] if counts else ""
    return [usual if verdict.reward > SUCCESS else answer for verdict, answer in zip(row, own, strict=True)]

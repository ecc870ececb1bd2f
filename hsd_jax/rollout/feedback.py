"""What a teacher may be told about a failed rollout: the verifier's words, as text.

It says what was found wrong and nothing of what would have been right; for programs it quotes a visible test, for a
verdict by hidden tests has no detail (`verifiers.code`).
"""

from collections.abc import Sequence

from hsd_jax.types import Verdict

WRONG = "Its final answer {} is wrong."
NO_ANSWER = "It gives no final answer."
UNPARSED = "Its final answer cannot be read."
TIMEOUT = "It takes too long."
CUT = "It is not finished."
FAILED = "It does not pass the tests."


def of_rollout(kind: str, verdict: Verdict, finished: bool) -> str:
    """One or two sentences on a failed rollout; empty where it succeeded, or where the check itself failed."""
    if verdict.reward > 0.5 or verdict.reason == "crash":
        return ""
    said = [] if finished else [CUT]
    if verdict.reason in ("wrong", "unknown words"):
        said.append(verdict.detail or FAILED if kind == "code" else _wrong(verdict))
    elif verdict.reason == "timeout":
        said.append(TIMEOUT if kind == "code" else UNPARSED)
    else:
        said.append(UNPARSED if verdict.reason == "unparsed" else NO_ANSWER)
    return "\n".join(said)


def _wrong(verdict: Verdict) -> str:
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

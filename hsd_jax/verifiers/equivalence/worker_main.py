"""The process that does algebra for the math verifier: one JSON question per line in, one JSON answer per line out.

Started by path-independent `python -I -c`, never imported by the training process; it may be killed at any moment.
A backstop alarm ends it even if the parent is gone, and it leaves when its input closes.
"""

import json
import os
import resource
import signal
import sys

MEMORY_BYTES = 2 << 30


def main(limit_seconds: str) -> None:
    """Answers {"id", "gold", "given"} with {"id", "result"}: equal, different, unparsed, or memory and leaves."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    from hsd_jax.verifiers.equivalence import algebra

    sys.setrecursionlimit(4_000)
    # the first formula loads the parser's tables and much of sympy: no check should pay for that
    _answer(algebra, "x^2+1", "(x+1)^2-2x")
    answers.write('{"ready": true}\n')
    answers.flush()
    for line in sys.stdin:
        question = json.loads(line)
        signal.setitimer(signal.ITIMER_REAL, float(limit_seconds))
        result = _answer(algebra, question["gold"], question["given"])
        signal.setitimer(signal.ITIMER_REAL, 0)
        answers.write(json.dumps({"id": question["id"], "result": result}) + "\n")
        answers.flush()
        if result == "memory":
            return


def _answer(algebra: object, gold: str, given: str) -> str:
    try:
        return "equal" if algebra.same_answer(gold, given) else "different"  # type: ignore[attr-defined]
    except MemoryError:
        return "memory"
    except Exception:  # the parser and sympy raise nearly anything on hostile text
        return "unparsed"

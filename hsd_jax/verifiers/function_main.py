"""The process that calls a user's own reward function: one JSON question per line in, one JSON answer per line out.

Started by `python -I -c`, never imported by the training process; it may be killed at any moment. What the function
prints goes nowhere, what it forks ends with it.
"""

import importlib
import json
import math
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from hsd_jax.types import REASONS, SUCCESS, Verdict


def main(name: str, limit_seconds: str, *paths: str) -> None:
    """Answers {"id", "question", "response", "record"} with {"id", "verdict"} or {"id", "error"}, in words."""
    os.chdir(paths[0])
    sys.path.extend(path for path in paths if path not in sys.path)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    try:
        function = find(name)
    except Exception as error:
        return say({"error": words(error)})
    say({"ready": True})
    for line in sys.stdin:
        asked = json.loads(line)
        signal.setitimer(signal.ITIMER_REAL, float(limit_seconds) + 2)  # should the parent be gone
        answer = call(function, asked)
        signal.setitimer(signal.ITIMER_REAL, 0)
        say({"id": asked["id"]} | answer)
    return None


def find(name: str) -> Callable[..., Any]:
    """The function of `package.module:function`. Raises: whatever importing it raises."""
    module, _, attribute = name.partition(":")
    function = getattr(importlib.import_module(module), attribute)
    if not callable(function):
        raise TypeError(f"{attribute} is a {type(function).__name__} and no function")
    return function


def call(function: Callable[..., Any], asked: dict[str, Any]) -> dict[str, Any]:
    """What the function says of one response, as plain data."""
    process = os.getpid()
    try:
        verdict = as_verdict(function(asked["question"], asked["response"], asked["record"]))
    except BaseException as error:  # SystemExit too: the next response is asked of this process again
        answer = {"error": words(error)}
    else:
        answer = {"verdict": asdict(verdict)}
    if os.getpid() != process:  # a fork that came back: one answer is enough
        os._exit(0)
    return answer


def as_verdict(said: Any) -> Verdict:
    """A Verdict, or a number in [0, 1] as one. Raises: ValueError for anything else."""
    verdict = said if isinstance(said, Verdict) else None
    reward = verdict.reward if verdict else said
    if isinstance(reward, bool | int | float) and math.isfinite(reward) and 0 <= reward <= 1:
        if verdict is None:
            return Verdict(float(reward), "correct" if reward > SUCCESS else "wrong")
        texts = isinstance(verdict.extracted, str | None) and isinstance(verdict.detail, str)
        if verdict.reason in REASONS and texts:
            return verdict
    raise ValueError(f"it returned {said!r:.200}; allowed are a number from 0 to 1 and a hsd_jax.types.Verdict")


def words(error: BaseException) -> str:
    """An error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]

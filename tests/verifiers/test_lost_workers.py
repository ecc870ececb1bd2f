"""A worker or a sandbox killed from outside mid-check: the check is repeated once, then it is a crash."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hsd_jax.types import Verdict
from hsd_jax.verifiers import code, math
from hsd_jax.verifiers.equivalence import worker_pool
from hsd_jax.verifiers.sandbox import tiers
from tests.support.tiers import needs_sandbox, sandboxes_left, usable_tiers

SLOW_SUM = "import time\ndef f(x):\n    time.sleep(2)\n    return x + 1\n"
TESTS = [{"call": "f", "args": [1], "output": 2}]


def descendants(pid: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(status.read_text().rpartition(")")[2].split()[1]) == pid:
                child = int(status.parent.name)
                found += [child, *descendants(child)]
    return found


def check_under_fire(choose: Callable[[list[int]], list[int]], once: bool, check: Callable[[], Verdict]) -> Verdict:
    """The verdict of a check whose chosen processes are killed: `once`, or for as long as it runs."""
    known = set(descendants(os.getpid()))
    verdicts: list[Verdict] = []
    thread = threading.Thread(target=lambda: verdicts.append(check()))
    thread.start()
    killed: set[int] = set()
    while thread.is_alive() and not (once and killed):
        fresh = [pid for pid in descendants(os.getpid()) if pid not in known | killed]
        if len(fresh) < 2:
            time.sleep(0.02)
            continue
        time.sleep(0.3)
        for pid in choose([pid for pid in descendants(os.getpid()) if pid not in known | killed]):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            killed.add(pid)
    thread.join()
    return verdicts[0]


@needs_sandbox
@pytest.mark.sandbox
@pytest.mark.parametrize("tier", usable_tiers(), ids=lambda tier: tier.name)
@pytest.mark.parametrize("victim", ["outermost", "innermost"])
@pytest.mark.parametrize(("once", "reason"), [(True, "correct"), (False, "crash")])
def test_a_killed_sandbox_is_repeated_once(tier: tiers.Tier, victim: str, once: bool, reason: str) -> None:
    verdict = check_under_fire(
        lambda pids: pids[:1] if victim == "outermost" else pids[-1:],
        once,
        lambda: code.grade(SLOW_SUM, TESTS, tier=tier),
    )
    assert verdict.reason == reason
    assert sandboxes_left() == []
    assert code.grade("def f(x):\n    return x + 1\n", TESTS, tier=tier).reward == 1.0


@pytest.mark.parametrize(("times", "reason"), [(1, "timeout"), (400, "crash")])
def test_a_killed_math_worker_is_repeated_once(times: int, reason: str) -> None:
    lender = worker_pool.open_set(limit_seconds=4.0, most=2)
    worker_pool.warm_up(lender, 2)
    verdicts: list[Verdict] = []
    thread = threading.Thread(
        target=lambda: verdicts.append(math.grade_with(lender, r"\boxed{x^{9^{9^9}}}", "x^{8^{9^9}}"))
    )
    thread.start()
    time.sleep(0.7)
    for _ in range(times):
        kill_busy_math_workers(lender)
        if not thread.is_alive():
            break
        time.sleep(0.05)
    thread.join()
    assert verdicts[0].reason == reason
    assert math.grade_with(lender, r"\boxed{(x+1)^2}", "x^2+2x+1").reason == "correct"
    worker_pool.close_set(lender)


def kill_busy_math_workers(lender: worker_pool.WorkerPool) -> None:
    for pid in set(descendants(os.getpid())) - {worker.process.pid for worker in lender.idle}:
        with contextlib.suppress(OSError):
            if b"worker_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)

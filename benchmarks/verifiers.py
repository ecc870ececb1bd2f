"""Throughput of the verifiers beside a plain subprocess, measured in one run.

    python -m benchmarks.verifiers            about a minute; run it on a quiet machine

The last column is the time of one check divided by the time of the same tests in plain `python -I -S` children
without any isolation: one child for ten calls, ten children for ten runs.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from hsd_jax.verifiers import cases, code, math, pool
from hsd_jax.verifiers.sandbox import tiers

CORES = len(os.sched_getaffinity(0))
TARGETS = {"easy math": 1000, "symbolic math": 100, "ten-call program": 40, "ten-run program": 40}
EASY = [("5", "5"), ("1/2", r"\frac{1}{2}"), ("(1,2)", r"\left(1, 2\right)"), ("1000", "1,000"), ("3", "4")]
SYMBOLIC = [
    ("x^2+2x+1", "(x+1)^2"), (r"2\sqrt{2}", r"\sqrt{8}"), (r"\frac{1}{\sqrt{2}}", r"\frac{\sqrt{2}}{2}"),
    (r"\frac{n(n+1)}{2}", r"\frac{n^2+n}{2}"), ("3x+2", "2+3x"), (r"2\pi", r"3\pi"), ("e^2", "e^3"), ("a+b", "a-b"),
]  # fmt: skip
CALLS = "def f(n):\n    return sum(i * i for i in range(n))\n"
RUNS = "n = int(input())\nprint(sum(i * i for i in range(n)))\n"
CALL_TESTS = [{"call": "f", "args": [n], "output": sum(i * i for i in range(n))} for n in range(10)]
RUN_TESTS = [{"input": f"{n}\n", "output": str(sum(i * i for i in range(n)))} for n in range(10)]


def rate(check: Callable[[int], object], count: int, *, at_once: int = 2 * CORES) -> float:
    """Checks per second of `count` checks; starting a process is partly waiting, so two at once per core."""
    with ThreadPoolExecutor(at_once) as threads:
        list(threads.map(check, range(2 * at_once)))
        begun = time.perf_counter()
        list(threads.map(check, range(count)))
        return count / (time.perf_counter() - begun)


def plain_calls(index: int) -> None:
    """The ten calls in one plain child."""
    program = CALLS + "print([f(n) for n in range(10)])"
    subprocess.run([sys.executable, "-I", "-S", "-c", program], check=True, capture_output=True)


def plain_runs(index: int) -> None:
    """The ten runs, each in a plain child of its own: what a fresh process per test costs without isolation."""
    for test in RUN_TESTS:
        subprocess.run(
            [sys.executable, "-I", "-S", "-c", RUNS], input=test["input"].encode(), check=True, capture_output=True
        )


def measured_math(graders: pool.Pool) -> list[tuple[str, float, float]]:
    """Rates of easy and symbolic checks."""
    easy = rate(lambda i: math.grade(rf"so \boxed{{{EASY[i % 5][1]} }}", f"{EASY[i % 5][0]}"), 20_000, at_once=1)
    count = 2_000
    begun = time.perf_counter()
    futures = [
        graders.submit_math(rf"so \boxed{{{SYMBOLIC[i % 8][1]} + {i}}}", f"{SYMBOLIC[i % 8][0]} + {i}")
        for i in range(count)
    ]
    for future in futures:
        future.result()
    return [("easy math", easy, 0.0), ("symbolic math", count / (time.perf_counter() - begun), 0.0)]


def measured_programs() -> list[tuple[str, float, float]]:
    """Rates of programs with ten tests in every tier, each beside its plain child."""
    rows = []
    visible = {"ten-call program": cases.visible(CALL_TESTS), "ten-run program": cases.visible(RUN_TESTS)}
    for name, program, plain in (("ten-call program", CALLS, plain_calls), ("ten-run program", RUNS, plain_runs)):
        baseline = rate(plain, 60)
        for tier in tiers.candidates():
            if tiers.fails(tier) is None:
                ours = rate(lambda _, p=program, n=name, t=tier: code.grade(p, visible[n], tier=t), 120)
                rows.append((f"{name}, {tier.name}", ours, baseline / ours))
        rows.append((f"{name}, plain child", baseline, 1.0))
    return rows


def main() -> None:
    """Prints one line per measurement."""
    print(tiers.probe())
    with pool.start(workers=CORES) as graders:
        rows = measured_math(graders)
    print(f"{'on ' + str(CORES) + ' cores':36}{'checks/s':>10}{'target':>8}{'plain child = 1':>17}")
    for name, per_second, overhead in rows + measured_programs():
        target = TARGETS.get(name.split(",")[0], 0) if "plain" not in name else 0
        print(f"{name:36}{per_second:10.0f}{target or '':>8}{f'{overhead:.2f} x' if overhead else '':>17}")


if __name__ == "__main__":
    main()

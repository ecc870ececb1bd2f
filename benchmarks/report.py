"""Size of the report and the seconds until it can be used, for a log of many rollouts.

    python benchmarks/report.py --rollouts 1000 --tokens 500

Every alternative is drawn at random from a large vocabulary and every number is noise, so nothing compresses better
than in a real run. Prints the size of the log, of the page, and their ratio, and the time to write and to open it.
"""

import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

sys.path.insert(0, str(Path(__file__).parents[1]))
from hsd_jax.report import Arguments, write_report  # noqa: E402
from tests.support.browser import chromium  # noqa: E402
from tests.support.report_workdir import make_workdir, problem, write_groups  # noqa: E402


@dataclass(frozen=True)
class Settings:
    """What the log holds."""

    rollouts: int = 1000
    """Number of rollouts, in groups of 8."""
    tokens: int = 500
    """Longest response in tokens."""
    vocabulary: int = 20_000
    """Distinct token strings from which alternatives are drawn."""


def main(settings: Settings) -> None:
    """Makes the log, the page, and opens it."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        workdir = make_workdir(Path(folder) / "run", steps=0, problems=0)
        groups = (settings.rollouts + 7) // 8
        for step in range(0, groups, 10):
            chosen = [
                noisy(problem(step, i, 8, settings.tokens, 0.5, rng), settings, rng)
                for i in range(min(10, groups - step))
            ]
            write_groups(workdir, step, chosen)
        log = sum(path.stat().st_size for path in (workdir / "rollouts").iterdir())
        started = time.perf_counter()
        page = write_report(Arguments(str(workdir)))[0]
        written = time.perf_counter() - started
        size = page.stat().length
        print(f"log {log / 1e6:.1f} MB, page {size / 1e6:.2f} MB, ratio {size / log:.3f}; written in {written:.1f} s")
        with chromium() as tab:
            for attempt in ("first", "second", "third"):
                started = time.perf_counter()
                tab.open(f"{page.as_uri()}#rollouts")
                seconds = time.perf_counter() - started
                print(
                    f"{attempt} opening {seconds:.2f} s, {tab.run('document.documentElement.dataset.ready')} rollouts"
                )


def noisy(group: dict, settings: Settings, rng: np.random.Generator) -> dict:
    """The group with full-length responses, and alternatives and chances that are noise."""
    for rollout in group["rollouts"]:
        count = len(rollout["tokens"])
        for name in ("top_student", "top_teacher"):
            names = rng.integers(settings.vocabulary, size=(count, 3))
            chances = rng.dirichlet(np.ones(4), count)
            rollout[name] = [
                [[f" tok{n:x}", float(c)] for n, c in zip(a, b, strict=False)]
                for a, b in zip(names, chances, strict=True)
            ]
        rollout["tokens"] = [f" tok{n:x}" for n in rng.integers(settings.vocabulary, size=count)]
        rollout["text"] = "".join(rollout["tokens"])
    return json.loads(json.dumps(group))


if __name__ == "__main__":
    main(tyro.cli(Settings))

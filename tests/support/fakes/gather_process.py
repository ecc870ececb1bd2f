"""One of two processes for tests/runtime/test_gather.py: `gather_process.py PORT PROCESS`."""

import sys
from collections.abc import Sequence

import jax

from hsd_jax.data.problems import Problem
from hsd_jax.evaluation.generate import Samples, answer_all
from hsd_jax.runtime.multihost import gather_json

PROBLEMS = [Problem(f"q{i}", "x", "math", "1+1?", "2") for i in range(7)]


def ask(problems: Sequence[Problem]) -> list[Samples]:
    """One answer to each problem; its length is its place among those that this process was asked."""
    return [Samples(p.id, (1.0,), ("correct",), ("2é",), (i,), (True,), ("2",)) for i, p in enumerate(problems)]


def main() -> None:
    """Gathers a record of each process, then the answers to all problems."""
    jax.distributed.initialize("127.0.0.1:" + sys.argv[1], 2, int(sys.argv[2]))
    me = jax.process_index()
    print("gathered", gather_json({"me": me, "text": "x" * (3 + 5 * me)}))
    print("order", [[one.id for one in part] for part in answer_all(ask, PROBLEMS, batch=2)])


if __name__ == "__main__":
    main()

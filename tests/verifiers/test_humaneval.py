"""All 164 canonical HumanEval solutions pass, 164 mutated ones fail. The data are not part of the repository."""

import gzip
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from hsd_jax.verifiers import code, comparison
from tests.support.paths import CORPORA
from tests.support.tiers import needs_sandbox

DATA = CORPORA / "humaneval"
FILE = DATA / "HumanEval.jsonl.gz"
MUTATION = """
_original = {entry}
def {entry}(*arguments):
    value = _original(*arguments)
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    return type(value)(list(value) + [0]) if isinstance(value, (list, tuple)) else str(value) + "x"
"""

pytestmark = [
    pytest.mark.sandbox,
    needs_sandbox,
    pytest.mark.skipif(not FILE.exists(), reason=f"{FILE} is missing; set HSD_JAX_ACCEPTANCE_DATA"),
]


def reasons(row: dict[str, str]) -> tuple[str, str, str]:
    solution = row["prompt"] + row["canonical_solution"]
    tests = code.recorded_tests(solution, row["test"], row["entry_point"])
    canonical = code.grade(solution, tests, tolerance=comparison.EVALPLUS)
    mutated = code.grade(solution + MUTATION.format(entry=row["entry_point"]), tests, tolerance=comparison.EVALPLUS)
    return row["task_id"], canonical.reason, mutated.reason


def test_canonical_solutions_pass_and_mutated_ones_fail() -> None:
    rows = [json.loads(line) for line in gzip.open(FILE, "rt")]
    assert len(rows) == 164
    with ThreadPoolExecutor(4) as threads:
        outcomes = list(threads.map(reasons, rows))
    assert [outcome for outcome in outcomes if outcome[1:] != ("correct", "wrong")] == []

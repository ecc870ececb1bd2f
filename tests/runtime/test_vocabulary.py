"""Phases and reasons of verdicts are named once, and every place that writes or reads one uses those names."""

import ast
from collections.abc import Iterator
from pathlib import Path

from hsd_jax.reporting import diagnostics, figures
from hsd_jax.runtime import faults
from hsd_jax.types import PHASES, REASONS

ROOT = Path(__file__).resolve().parents[2]


def texts_given_to(*names: str, under: str = "") -> Iterator[str]:
    """Texts among the arguments of every call of something of these names."""
    for path in sorted((ROOT / "hsd_jax" / under).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            name = getattr(node.func, "attr", getattr(node.func, "id", "")) if isinstance(node, ast.Call) else ""
            if isinstance(node, ast.Call) and name in names:
                yield from (a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str))


def test_every_phase_that_is_timed_has_a_name_and_every_name_is_timed() -> None:
    assert set(texts_given_to("phase")) == set(PHASES)


def test_readers_of_phases_know_no_others() -> None:
    assert set(faults.ROOM) <= set(PHASES) and set(diagnostics.MAIN_PHASES) <= set(PHASES)
    drawn = {key for _, _, lines in figures.CURVES for key, _ in lines if key.startswith("time/")}
    assert drawn and drawn <= {f"time/{phase}" for phase in PHASES}


def test_verifiers_give_the_reasons_that_have_a_name() -> None:
    given = {*texts_given_to("Verdict", "Unread", "_Failed", under="verifiers"), *texts_given_to("Verdict")}
    assert {"wrong", "no_answer", "unparsed", "timeout", "crash", "correct"} <= given <= set(REASONS)


def test_reasons_are_documented() -> None:
    said = (ROOT / "docs" / "verification.md").read_text()
    assert all(reason in said for reason in REASONS)

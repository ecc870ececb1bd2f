"""The notebook runs from top to bottom on the tiny model, and its pictures hold what its text says of them."""

import json
from collections.abc import Iterator
from typing import Any

import jax
import matplotlib
import numpy as np
import pytest

from tests.support.paths import ROOT

NOTEBOOK = ROOT / "examples" / "look_at_credit.ipynb"


@pytest.fixture(scope="module")
def made() -> Iterator[dict[str, Any]]:
    """What its cells have defined, run in order in one namespace."""
    matplotlib.use("Agg")
    names: dict[str, Any] = {}
    with jax.numpy_rank_promotion("allow"):
        for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
        yield names


def test_its_attempts_are_one_that_failed_and_one_that_succeeded(made: dict[str, Any]) -> None:
    answer = made["problems"][made["p"]].answer
    said = [made["tokenizer"].decode(made[name]) for name in ("failed", "success")]
    assert [f"\\boxed{{{answer}}}" in text for text in said] == [False, True]
    assert made["failed"][: made["tau"]] == made["success"][: made["tau"]]


def test_credit_is_that_of_the_one_file_step(made: dict[str, Any]) -> None:
    problem, response = made["problems"][made["p"]], made["failed"]
    own = made["credit"](problem, made["student_context"](made["tokenizer"], problem), response)
    assert np.abs(own).max() < 1e-4, "a teacher that reads what the student reads gives no credit"
    assert made["reads"](made["success"][:-1]) == made["hindsight"]
    assert abs(made["credit_T"][made["tau"]]) > 1


def test_an_attempt_of_any_kind_moves_credit_as_its_text_says(made: dict[str, Any]) -> None:
    problem, tau = made["problems"][made["p"]], made["tau"]
    at = {title: abs(made["credit"](problem, read, made["failed"])[tau]) for title, read in made["contexts"].items()}
    right, answer, nothing, _, itself = at.values()
    assert itself > 2 * max(answer, nothing) and right > 2 * max(answer, nothing)

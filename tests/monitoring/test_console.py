"""What a run tells a person: the words on coverage and the lines without a terminal."""

import io

import pytest
from rich.console import Console

from hsd_jax.config import Config
from hsd_jax.methods import METHODS, peer_of
from hsd_jax.monitoring import console


def lines(*coverages: float) -> list[dict[str, float]]:
    """Metrics as a run keeps them; step 0 is an evaluation without a batch."""
    return [{"step": 0, "eval/pass@1": 0.1}, *({"step": i, "coverage": c} for i, c in enumerate(coverages, 1))]


@pytest.mark.parametrize("coverages", [(), (0.1,), (0.0, 0.0, 0.01), (0.5, 0.0, 0.0)])
def test_nothing_is_said_where_a_batch_had_a_peer_or_there_was_none(coverages: tuple[float, ...]) -> None:
    for method in METHODS.values():
        assert console.words_on_coverage(Config(), method, lines(*coverages)) == ""


@pytest.mark.parametrize("name", sorted(METHODS))
def test_coverage_of_zero_in_every_step_is_said_in_the_terms_of_the_method(name: str) -> None:
    said = console.words_on_coverage(Config(), METHODS[name], lines(0.0, 0.0, 0.0))
    assert "coverage was 0 in all 3 steps" in said
    assert ("endpoint fallback" in said) == bool(peer_of(METHODS[name]))
    for part in (Config().method.name, Config().data.source, Config().model.path, "larger groups"):
        assert part in said


def test_without_a_terminal_a_run_prints_its_first_steps_and_twenty_more() -> None:
    out = io.StringIO()
    with console.progress(Console(file=out, width=200), 0, 400) as show:
        for step in range(1, 401):
            show(step, {"reward": 0.25, "coverage": 0.5, "loss": 0.125, "time/step": 2.0})
    printed = out.getvalue().splitlines()
    assert [int(line.split()[1].split("/")[0]) for line in printed] == [1, 2, *range(20, 401, 20)]
    assert printed[0] == "step 1/400  pass 0.25  coverage 0.50  loss 0.1250  2.0 s"


def test_a_quiet_run_prints_nothing() -> None:
    out = io.StringIO()
    with console.progress(Console(file=out), 0, 2, quiet=True) as show:
        show(1, {})
    assert out.getvalue() == ""


def test_every_evaluation_is_shown_even_the_one_before_the_first_step() -> None:
    out = io.StringIO()
    scores = {"eval/pass@1": 0.25, "eval/pass@4": 0.5, "eval/greedy": 0.125, "eval/right_paths": 1.5}
    step = {"reward": 0.25, "coverage": 0.5, "loss": 0.125, "time/step": 2.0}
    with console.progress(Console(file=out, width=200), 0, 400) as show:
        show(0, {"step": 0, **scores})
        show(7, {**step, **scores})
    assert out.getvalue().splitlines() == [
        f"after step {at}, held out: greedy 0.12  pass@1 0.25  pass@4 0.50  right_paths 1.50" for at in (0, 7)
    ]

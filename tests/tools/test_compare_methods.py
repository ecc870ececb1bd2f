"""The comparison of methods: variants are valid runs, runs are resumed and named, numbers are those of the logs."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hsd_jax.errors import InputError
from hsd_jax.methods import METHODS
from hsd_jax.run import arguments
from hsd_jax.setup import method_overrides, validation
from tools import compare_methods, compare_runs, compare_tables
from tools.compare_methods import VARIANTS, Run, Table, command_of

# A trainer of one line per step, which fails for seed 1 after its first step, and waits when it is asked to.
TRAINER = """
import json, pathlib, signal, sys, time
name, steps, seed, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), pathlib.Path(sys.argv[4])
folder.mkdir(parents=True, exist_ok=True)
def save(number, frame):
    (folder / "saved").write_text(str(number))
    sys.exit(0)
signal.signal(signal.SIGINT, save)
with (folder / "metrics.jsonl").open("a") as file:
    for step in range(steps + 1):
        file.write(json.dumps({"step": step, "eval/pass@1": 0.5, "eval/greedy": 1.0}) + "\\n")
        file.flush()
        if seed == 1 and step == 1:
            sys.exit("error: the disk is full")
if seed == 2:
    (folder / "metrics.jsonl").write_text("")
    (folder / "ready").write_text("")
    time.sleep(60)
"""


def fake_command(settings: Run, name: str, seed: int) -> tuple[str, ...]:
    workdir = settings.out / f"{name}-{seed}"
    return sys.executable, "-c", TRAINER, name, str(settings.steps), str(seed), str(workdir)


def test_the_comparison_has_every_method() -> None:
    assert set(METHODS) == set(compare_methods.METHODS)
    assert not set(compare_methods.METHODS) & set(compare_methods.TEACHERS)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_is_a_valid_run(name: str) -> None:
    command = command_of(Run(), name, seed=3)
    settings = arguments.parse(command[3:], about="").settings
    method = method_overrides.resolve(settings.method)
    validation.check(settings, method, processes=1)
    assert (settings.seed, settings.steps, settings.method.name) == (3, 50, compare_methods.ROWS[name])
    frozen = {"hsd", "opsd", "grpo_opsd"}
    assert (settings.method.teacher == "frozen") == (name in frozen)
    if name in METHODS and name not in frozen:
        assert method.teacher == METHODS[name].teacher
    if name.startswith("hsd_live"):
        assert method.teacher == "live"


def test_runs_are_done_once_and_failures_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compare_methods, "command_of", fake_command)
    settings = Run(out=tmp_path, methods=("hsd", "grpo"), seeds=(1, 0), steps=2, jobs=2)
    assert compare_methods.run(settings) == 1
    said = capsys.readouterr().out
    assert "hsd-1: failed after step 1, exit code 1: error: the disk is full" in said
    assert "2 of 4 runs failed: " in said and "grpo-0: finished" in said
    lines = (tmp_path / "hsd-0" / "metrics.jsonl").read_text()
    assert compare_methods.run(settings) == 1
    assert "4 runs, 2 of them finished before" in capsys.readouterr().out
    assert (tmp_path / "hsd-0" / "metrics.jsonl").read_text() == lines


def test_an_interrupt_lets_runs_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare_methods, "command_of", fake_command)
    ready = tmp_path / "hsd-2" / "ready"
    real_sleep = compare_methods.time.sleep

    def interrupt(seconds: float) -> None:
        real_sleep(0.02)
        if ready.exists():
            raise KeyboardInterrupt

    monkeypatch.setattr(compare_methods.time, "sleep", interrupt)
    code = compare_methods.run(Run(out=tmp_path, methods=("hsd",), seeds=(2,), steps=1))
    assert code == compare_methods.EXIT_INTERRUPTED and (tmp_path / "hsd-2" / "saved").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [(Run(methods=("hds",)), "no 'hds'"), (Run(jobs=0), "--jobs must be at least 1"), (Run(steps=0), "--steps")],
)
def test_wrong_requests_are_refused(settings: Run, message: str) -> None:
    with pytest.raises(InputError, match=message):
        compare_methods.run(settings)


def write_run(out: Path, name: str, scores: list[float], **series: Any) -> None:
    """A run of which every tenth step was evaluated."""
    folder = out / name
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"commit": "0123456789" * 4 + "+changes"}))
    lines: list[dict[str, Any]] = []
    for step in range(10 * len(scores) - 9):
        line = {"step": step} | {key: values[step] for key, values in series.items()}
        lines.append(line | ({"eval/pass@1": scores[step // 10], "eval/greedy": 1.0} if step % 10 == 0 else {}))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 99, "ev')


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    steady, rising = [0.01] * 61, [0.01] * 30 + [2.0] * 31
    write_run(tmp_path, "hsd-0", [0.3, 0.5, 0.8, 0.9, 0.9, 0.9, 0.9], kl_reference=steady, kl=steady)
    write_run(tmp_path, "hsd-1", [0.4, 0.6, 0.7, 0.9, 0.9, 0.9, 0.8], kl_reference=steady, kl=steady)
    write_run(tmp_path, "hsd_live-0", [0.3, 0.5, 0.8, 0.75, 0.5, 0.2, 0.1], kl_reference=rising, kl=rising)
    write_run(tmp_path, "grpo-0", [0.3, 0.5, 0.6, 0.6, 0.7, 0.7, 0.7])
    return tmp_path


def test_the_numbers_of_runs(runs: Path) -> None:
    first, second = compare_runs.read(runs, "hsd")
    (live,) = compare_runs.read(runs, "hsd_live")
    assert (compare_runs.last_step_of(runs / "hsd-0"), compare_runs.last_step_of(runs / "none")) == (60, -1)
    assert [compare_runs.step_of_good(run) for run in (first, second)] == [20, 30]
    assert np.isnan(compare_runs.step_of_fall(first)) and compare_runs.step_of_fall(live) == 40
    assert compare_runs.has_collapsed(live) and not compare_runs.has_collapsed(second)
    given = compare_runs.warnings(live)
    assert given["guard: kl_reference"] == 32  # the first step at which the mean of 5 steps is above 1
    assert given["watch: kl_reference"] < given["act: kl_reference"] and given["rise: kl"] == 30
    assert compare_runs.warnings(first) == {}


def test_tables_and_figures(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare_methods.table(Table(out=runs)) == 0
    said = capsys.readouterr().out
    assert "| `hsd` | 2 | 60 | 0.350 (0.300–0.400) | 0.850 (0.800–0.900) | 1.000 | 25 (20–30) | 0.010 |" in said
    assert "| `hsd_live` | 1 | 60 | 0.300 | 0.100 | 1.000 | 20 | 2.000 |" in said and "| 1 of 1 |" in said
    assert "| `grpo` | 1 | 60 | 0.300 | 0.700 | 1.000 | – | – | – | – | 0 of 1 |" in said
    assert "| `hsd_live` 0 | 0.800 | 0.100 | 40 |" in said and "| `guard: kl_reference` | 8 | 1 | 0 |" in said
    assert "Commits: 012345678+changes." in said
    for name in ("pass-at-1", "collapse"):
        assert (runs / f"{name}.png").stat().st_size > 10_000
        assert (runs / f"{name}.svg").read_text().startswith("<?xml")


def test_an_empty_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no run"):
        compare_methods.table(Table(out=tmp_path))
    assert compare_tables.markdown([("a", "b"), ("1", "2")]) == "| a | b |\n|---|---|\n| 1 | 2 |"

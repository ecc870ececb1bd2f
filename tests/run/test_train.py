"""The command from end to end on the tiny model: what it writes, that it resumes exactly, and what it refuses."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from transformers import AutoTokenizer  # noqa: F401  (says that PyTorch is missing when it is first imported)

from hsd_jax.errors import EXIT_PREEMPTED, EXIT_REFUSED
from hsd_jax.run import arguments
from hsd_jax.runtime import checkpoint, cli
from hsd_jax.setup.build import build_components
from hsd_jax.update import metric_table
from tests.support.train_process import ROOT, TINY, Run, environment, finish, kill, lines, reach, start, trained

BARE = ["--config", "configs/tiny.py", "--workdir", "nowhere"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a run: one CPU device, programs compiled once for all tests of this file."""
    return environment(tmp_path_factory.mktemp("cache"))


def begin(cache: dict[str, str], workdir: Path, *more: str, name: str = "output", cwd: Path = ROOT) -> Run:
    return start(cache, workdir, *TINY, *more, name=name, cwd=cwd)


@pytest.fixture(scope="module")
def whole(cache: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """An uninterrupted run of four steps, and what it printed."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    command = [sys.executable, "-m", "hsd_jax.train", *TINY, "--steps", "4", "--workdir", str(workdir)]
    run = subprocess.run(command, cwd=ROOT, env=os.environ | cache, text=True, capture_output=True, timeout=900)
    assert run.returncode == 0, run.stdout + run.stderr
    return workdir, run.stdout + run.stderr


def test_a_run_leaves_what_tools_read(whole: tuple[Path, str]) -> None:
    workdir, output = whole
    seen = lines(workdir)
    assert [line["step"] for line in seen] == [0, 1, 2, 3, 4]
    keys = {
        *("loss", "reward", "coverage", "fallback", "masked", "peer_truncated", "grad_norm", "response_length"),
        *("truncated", "kl_reference", "entropy", "teacher_entropy", "divergence", "credit_mass_8"),
        *("kl_by_position", "first_token_kl", "teacher_coherence", "repeated_ngrams", "hedging", "time/sample"),
        *("time/grade", "time/update", "recompilations", "verdict/correct", "verdict/no_answer"),
    }
    for name in {*seen[0], *seen[-1]} - {"step"}:
        metric_table.metric(name)
    assert keys <= set(seen[-1]) and {"eval/pass@1", "eval/greedy"} <= set(seen[0])
    assert all(line["recompilations"] == 0 for line in seen[2:])
    said = json.loads((workdir / "config.json").read_text())
    assert said["config"]["steps"] == 4 and {"versions", "commit", "command"} <= set(said)
    rows = [json.loads(row) for row in (workdir / "rollouts" / "step-000002.jsonl").read_text().splitlines()]
    rollout = rows[0]["rollouts"][0]
    assert len(rollout["credit"]) == len(rollout["token_ids"]) == len(rollout["top_teacher"])
    assert (workdir / "report" / "index.html").stat().st_size > 10_000
    assert any((workdir / "tensorboard").iterdir())
    assert "held-out" in output and "divergence" in output


def test_the_sampler_and_the_scorer_agree(whole: tuple[Path, str]) -> None:
    assert max(line["sampler_gap"] for line in lines(whole[0])[1:]) < 1e-4


def test_the_rollout_log_holds_the_very_contexts(whole: tuple[Path, str]) -> None:
    rows = (whole[0] / "rollouts" / "step-000004.jsonl").read_text().splitlines()
    for row in map(json.loads, rows):
        for rollout in row["rollouts"]:
            if rollout["peer"] >= 0:
                text = row["contexts"][rollout["context"]]
                assert row["rollouts"][rollout["peer"]]["text"] in text and row["answer"] in text
                assert row["rollouts"][rollout["peer"]]["reward"] == 1


def test_a_stopped_run_saves_and_says_how_to_go_on(
    whole: tuple[Path, str], cache: dict[str, str], tmp_path: Path
) -> None:
    """Ctrl-C finishes step 2 and saves, SIGTERM drops step 4, which is being sampled, and saves step 3.

    Both are due for evaluation, which is left to the run that goes on, and so is the last step's.
    """
    workdir, common = tmp_path / "run", ["--steps", "4", "--checkpoints.every", "100"]
    for step, number, done in [(2, signal.SIGINT, 2), (4, signal.SIGTERM, 3)]:
        run = begin(cache, workdir, *common, "--resume", "auto")
        reach(run, step, "sample")
        assert run.process.pid is not None
        os.kill(run.process.pid, number)
        output = finish(run, EXIT_PREEMPTED)
        assert "--resume auto" in output and f"after step {done}; continue with" in output
        assert checkpoint.latest_valid_step(workdir / "checkpoints") == lines(workdir)[-1]["step"] == done
    finish(begin(cache, workdir, *common, "--resume", cwd=tmp_path))
    assert trained(workdir) == trained(whole[0])


def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    whole: tuple[Path, str], cache: dict[str, str], tmp_path: Path
) -> None:
    workdir = tmp_path / "run"
    shutil.copytree(whole[0], workdir)
    newest = workdir / "checkpoints" / "4" / "state"
    largest = max((f for f in newest.rglob("*") if f.is_file()), key=lambda f: f.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(bytes(content))
    output = finish(begin(cache, workdir, "--steps", "4", "--resume", "auto"))
    assert "checkpoint 4 is damaged" in output
    assert trained(workdir) == trained(whole[0])


def test_two_runs_cannot_share_a_workdir(cache: dict[str, str], tmp_path: Path) -> None:
    workdir = tmp_path / "run"
    first = begin(cache, workdir, "--steps", "50")
    reach(first, 0, "start")
    output = finish(begin(cache, workdir, "--steps", "50", "--resume", "auto", name="second"), EXIT_REFUSED)
    kill(first)
    assert f"is in use by process {first.process.pid}" in output


# --- refusals: one line, nothing written, nothing compiled


def refusal(argv: Sequence[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    def main(given: Sequence[str]) -> int:
        build_components(arguments.parse(given, about="").settings)
        return 0

    monkeypatch.setattr(sys, "argv", ["train", *argv])
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as stop:
        cli.run(main)
    message = capsys.readouterr().err.strip()
    assert stop.value.code == EXIT_REFUSED and message.startswith("error: ") and "\n" not in message
    return message


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--config", "configs/none.py", "--workdir", "x"], "configs/none.py'; the shipped ones are in configs/"),
        ([*BARE, "--sampling.grp-size", "4"], "nearest valid one is --sampling.group-size"),
        ([*BARE, "--steps", "many"], "invalid literal"),
        (["--config", "configs/tiny.py"], "--workdir"),
        ([*BARE, "--sampling.group-size", "1"], "sampling.group-size must be at least 2 for 'hsd'"),
        ([*BARE, "--optimizer.micro-batches", "3"], "data.problems-per-step (16) must be a multiple of"),
        ([*BARE, "--mesh.fsdp", "3"], "mesh"),
        ([*BARE, "--method.name", "hsdd"], "the nearest is 'hsd'"),
        ([*BARE, "--model.path", "docs"], "docs/config.json"),
        ([*BARE, "--sampling.temperature", "-1"], "temperature must be a finite number"),
        ([*BARE, "--sampling.top-p", "0"], "top_p must be in (0, 1]"),
        ([*BARE, "--data.source", "gsm9k"], "did you mean 'gsm8k'"),
        ([*BARE, "--data.source", "gsm8k"], "--data.path DIR"),
        ([*BARE, "--data.context-tokens", "50"], "data.context-tokens (50) must hold at least"),
        ([*BARE, "--method.name", "sdft"], "data.solution-tokens is 0"),
        ([*BARE, "--method.reads", "feedback"], "data.feedback-tokens is 0"),
        ([*BARE, "--data.prompt-tokens", "20"], "fits the windows"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert message in refusal(argv, capsys, monkeypatch)
    assert not (ROOT / "nowhere").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("config = 3", "must end in `config = Config(...)`"),
        ("from hsd_jax.config import Config\nconfig = Config(stepps=3)", "the nearest is 'steps'"),
        ("from hsd_jax.config import Data\nData(sorce='x')", "the nearest is 'source'"),
        ("import no_such_module", "ModuleNotFoundError"),
    ],
)
def test_bad_config_files_are_refused(
    content: str,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(content)
    assert message in refusal(["--config", str(file), "--workdir", "nowhere"], capsys, monkeypatch)


@pytest.mark.parametrize(
    ("row", "message"),
    [('{"question": "1+1?"}', "train.jsonl"), ('{"answer": "#### 2"}', "train.jsonl"), ("no json", "train.jsonl")],
)
def test_bad_rows_are_named_by_file_and_line(
    row: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "train.jsonl").write_text('{"question": "2+2?", "answer": "#### 4"}\n' + row + "\n")
    monkeypatch.setenv("HSD_JAX_DATA", str(tmp_path / "cache"))
    said = refusal([*BARE, "--data.source", "gsm8k", "--data.path", str(tmp_path)], capsys, monkeypatch)
    assert message in said and "2" in said.split(message)[1]


def test_changed_settings_are_listed_and_refused_on_resuming(
    whole: tuple[Path, str], cache: dict[str, str], tmp_path: Path
) -> None:
    workdir = tmp_path / "run"
    shutil.copytree(whole[0], workdir)
    again = finish(begin(cache, workdir, "--steps", "4"), EXIT_REFUSED)
    assert "holds this run already" in again and "--resume auto" in again
    changed = ["--steps", "4", "--optimizer.learning-rate", "1e-3", "--resume", "auto"]
    output = finish(begin(cache, workdir, *changed), EXIT_REFUSED)
    assert "optimizer.learning_rate" in output and "--resume-with-changes" in output
    assert trained(workdir) == trained(whole[0])

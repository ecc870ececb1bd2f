"""A run's directory: what is discarded on resuming, what is refused, and that one run at a time may use it."""

import contextlib
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from etils import epath

from hsd_jax.config import Config, Optimizer, Sampling
from hsd_jax.errors import InputError, RunStopped
from hsd_jax.monitoring import writers
from hsd_jax.run import arguments
from hsd_jax.runtime import multihost, storage, workdir
from hsd_jax.runtime.workdir import Workdir, open_workdir


def opened(path: Path, config: Config | None = None, *, resume: bool = False, changes: bool = False) -> Workdir:
    return open_workdir(
        str(path), config or Config(), resume=resume, overwrite=False, allow_changes=changes, command=["train"]
    )


def closed(opened: Workdir) -> None:
    assert opened.lock is not None
    opened.lock.close()


def filled(root: Path, last: int) -> None:
    """What a run leaves after `last` steps, killed while it wrote the next one."""
    (root / "rollouts").mkdir(parents=True)
    sink = writers.jsonl_sink(epath.Path(root / "metrics.jsonl"))
    for step in range(last + 1):
        sink(step, {"loss": 0.5 / (step + 1)})
        (root / "rollouts" / f"step-{step:06d}.jsonl").write_text("{}\n")
        (root / "checkpoints" / str(step)).mkdir(parents=True)
    with (root / "metrics.jsonl").open("a") as file:
        file.write('{"step": "0"}\n{"step": 3, "lo')
    (root / "rollouts" / f"step-{last + 1:06d}.jsonl.part").write_text("{")
    (root / "checkpoints" / f"{last + 1}.orbax-checkpoint-tmp" / "state").mkdir(parents=True)


def test_slots_may_change_where_they_change_no_rollout(tmp_path: Path) -> None:
    for dtype in ("float32", "bfloat16"):
        root = tmp_path / dtype
        closed(opened(root, Config(sampling=Sampling(dtype=dtype))))
        fewer = Config(sampling=Sampling(dtype=dtype, slots=8))
        if dtype == "float32":
            closed(opened(root, fewer, resume=True))
            continue
        with pytest.raises(InputError, match="sampling.slots"):
            opened(root, fewer, resume=True)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"commit": "b"}, "commit differs between processes: process 0 has 'a'; process 1 has 'b'"),
        ({"steps": 7}, "start differs between processes: process 0 has {'steps': 60}; process 1 has {'steps': 7}"),
        ({"workdir": "/y"}, "process 0 has {'workdir': '/x'}; process 1 has {'workdir': '/y'}"),
        ({}, ""),
    ],
)
def test_hosts_that_differ_do_not_start(other: dict, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def gather(name: str, value: Any) -> list[Any]:
        return [value, other.get("commit", value) if name == "commit" else value | other]

    monkeypatch.setattr(workdir, "commit", lambda: "a")
    monkeypatch.setattr(multihost, "gather", gather)
    with pytest.raises(RunStopped, match=re.escape(said)) if said else contextlib.nullcontext():
        workdir.same_start("/x", Config(steps=60))


@pytest.mark.parametrize("step", [-1, 0, 2, 5])
def test_what_was_written_after_a_step_is_discarded(tmp_path: Path, step: int) -> None:
    filled(tmp_path, 5)
    (tmp_path / "rollouts" / "notes.txt").write_text("mine")
    workdir.discard_after(epath.Path(tmp_path), step)
    assert [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [
        *range(step + 1)
    ]
    names = sorted(file.name for file in (tmp_path / "rollouts").iterdir())
    assert names == ["notes.txt", *(f"step-{s:06d}.jsonl" for s in range(step + 1))]
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [str(s) for s in range(step + 1)]


def test_discarding_nothing_changes_nothing(tmp_path: Path) -> None:
    filled(tmp_path, 3)
    workdir.discard_after(epath.Path(tmp_path), 3)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    workdir.discard_after(epath.Path(tmp_path), 3)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_one_run_at_a_time(tmp_path: Path) -> None:
    first = opened(tmp_path / "run")
    with pytest.raises(InputError, match="is in use by process"):
        opened(tmp_path / "run", resume=True)
    closed(first)
    closed(opened(tmp_path / "run", resume=True))


@pytest.mark.parametrize(
    "more", [[], ["--resume"], ["--resume", "auto"], ["--resume=never"], ["--overwrite"], ["--resume-with-changes"]]
)
@pytest.mark.parametrize("last", [True, False])
def test_the_command_that_continues_a_run_is_valid_and_asks_for_nothing_else(more: list[str], last: bool) -> None:
    common = ["--config", "configs/tiny.py", "--workdir", "my run", "--steps", "3"]
    command = shlex.split(arguments.resume_command([*common, *more] if last else [*more, *common]))
    assert command[:3] == ["python", "-m", "hsd_jax.train"]
    found = arguments.parse(command[3:], about="")
    assert (found.resume, found.overwrite, found.resume_with_changes) == ("auto", False, False)
    assert (found.workdir, found.settings.steps) == (str(Path.cwd() / "my run"), 3)


def test_changed_settings_are_listed_and_only_harmless_ones_pass(tmp_path: Path) -> None:
    closed(opened(tmp_path / "run"))
    closed(opened(tmp_path / "run", Config(steps=7), resume=True))
    changed = Config(optimizer=Optimizer(learning_rate=0.5))
    with pytest.raises(InputError, match=r"optimizer.learning_rate: 1e-06 there, 0.5 here"):
        opened(tmp_path / "run", changed, resume=True)
    closed(opened(tmp_path / "run", changed, resume=True, changes=True))


def test_a_run_is_never_begun_anew_over_damaged_checkpoints(tmp_path: Path) -> None:
    closed(opened(tmp_path / "run"))
    filled(tmp_path / "run", 2)  # checkpoints without any files
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=r"none of its checkpoints \(0, 1, 2\) is whole.*--overwrite"):
        opened(tmp_path / "run", resume=True)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["a file", "a foreign directory", "a read-only directory", "a broken config"])
def test_directories_that_cannot_be_used_are_refused(tmp_path: Path, name: str) -> None:
    root = tmp_path / "run"
    if name == "a file":
        root.write_text("")
    elif name == "a foreign directory":
        root.mkdir()
        (root / "thesis.tex").write_text("mine")
    elif name == "a read-only directory":
        root = Path("/proc/hsd_jax")
    else:
        root.mkdir()
        (root / "config.json").write_text("[]")
    with pytest.raises(InputError, match="choose a"):
        opened(root)


@pytest.mark.parametrize("name", ["logs/w0.log", "errors/save.txt", "lock", "config.json.part", f"{storage.PROBE}1a"])
def test_what_an_earlier_start_left_does_not_keep_a_run_from_beginning(tmp_path: Path, name: str) -> None:
    """A start that was refused, or ended before it began: workers put their logs beside the run."""
    file = tmp_path / "run" / name
    file.parent.mkdir(parents=True)
    file.write_text("")
    closed(opened(tmp_path / "run", resume=True))
    assert (tmp_path / "run" / "config.json").exists()


def test_a_file_that_is_written_whole_equals_one_that_is_appended_to(tmp_path: Path) -> None:
    files = [epath.Path(tmp_path / name) for name in ("appended", "rewritten")]
    makers = (writers.appending_sink, writers.rewriting_sink)
    for _ in range(2):  # a run, and its continuation
        for file, make in zip(files, makers, strict=True):
            sink = make(file)
            for step in range(3):
                sink(step, {"loss": float("nan"), "kl_by_position": [0.5, float("inf")]})
    assert files[0].read_text() == files[1].read_text()
    rows = [json.loads(line) for line in files[1].read_text().splitlines()]
    assert len(rows) == 6 and rows[0] == {"step": 0, "loss": None, "kl_by_position": [0.5, None]}


@pytest.mark.parametrize("remote", [False, True])
def test_numbers_that_a_continued_run_owes_join_the_line_of_their_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remote: bool
) -> None:
    monkeypatch.setattr(writers.files, "is_remote", lambda _: remote)
    file = epath.Path(tmp_path / "metrics.jsonl")
    for step in (1, 2):
        writers.jsonl_sink(file)(step, {"loss": step, "kl": float("nan")})
    sink = writers.jsonl_sink(file)
    sink(2, {"eval/pass@1": 0.5})
    sink(3, {"loss": 3})
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    owed = {"step": 2, "loss": 2, "kl": None, "eval/pass@1": 0.5}
    assert rows == [{"step": 1, "loss": 1, "kl": None}, owed, {"step": 3, "loss": 3}]


def test_facts_join_the_config_and_the_commit_may_come_from_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a pod the code is an archive without a repository; the scripts say which commit it is."""
    monkeypatch.setattr(workdir, "__file__", str(tmp_path / "hsd_jax" / "workdir.py"))
    monkeypatch.setenv("HSD_COMMIT", "0123abcd")
    run = opened(tmp_path / "run")
    workdir.note(run.path, sandbox="bubblewrap")
    said = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (said["commit"], said["sandbox"], said["config"]["steps"]) == ("0123abcd", "bubblewrap", Config().steps)
    closed(run)

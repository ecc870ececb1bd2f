"""What a user's path becomes, and what is refused as one."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hsd_jax import evaluate, export, prepare, report
from hsd_jax.config import Config, Data, Model
from hsd_jax.errors import InputError
from hsd_jax.run import arguments
from hsd_jax.runtime import checkpoint, paths
from hsd_jax.runtime.paths import ROOT, absolute, as_record, check_writable, check_writable_file, resolve_path

TINY = ["--config", str(ROOT / "configs" / "tiny.py")]


def test_a_path_is_absolute_without_links_and_stays_so_when_the_directory_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a b").mkdir()
    (tmp_path / "link").symlink_to("a b")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "a b"))
    here = str(tmp_path / "a b" / "run")
    for text in ("a b/run", "link/run", "~/run", "./link/../a b/run", here):
        assert resolve_path(text, "--workdir") == here
    for remote in ("gs://bucket/run", "gs://bucket/a b/../run"):
        assert resolve_path(remote, "--workdir") == remote


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        ("a\nb", "line breaks"),
        ("a\rb", "line breaks"),
        ("a\0b", "line breaks"),
        ("a\u2028b", "line breaks"),
        (os.fsdecode(b"a\xff"), "line breaks"),
        ("gs:/bucket/run", "gs:/ is not known"),
        ("file:///tmp/run", "file:/ is not known"),
        ("x" * 256, "too long"),
        ("é" * 128, "too long"),
        ("x/" * 2100, "too long"),
        ("~nobody-of-this-name/run", "write the path in full"),
    ],
)
def test_what_cannot_be_a_path_is_refused_by_its_field_in_one_line(text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as refused:
        resolve_path(text, "--workdir")
    assert str(refused.value).startswith("--workdir ") or str(refused.value).startswith("--workdir: ")
    assert str(refused.value).isprintable()


def test_a_loop_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(InputError, match="--out"):  # newer Pythons leave the loop to whoever writes
        check_writable(resolve_path(str(tmp_path / "a"), "--out"), "--out")


def test_a_config_file_starts_at_the_checkout_and_the_command_line_in_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = arguments.parse([*TINY, "--workdir", "runs/x"], about="")
    assert given.workdir == str(tmp_path / "runs" / "x")
    assert given.settings.model.path == str(ROOT / "assets" / "tiny_qwen3")
    assert given.settings.data.path == ""
    given = arguments.parse([*TINY, "--workdir", "x", "--data.skill-bank", "bank.jsonl"], about="")
    assert given.settings.data.skill_bank == str(tmp_path / "bank.jsonl")
    given = arguments.parse([*TINY, "--workdir=~/x", "--model.path", "here", "--data.path=~/d"], about="")
    assert given.workdir == str(Path.home().resolve() / "x")
    assert (given.settings.model.path, given.settings.data.path) == (str(tmp_path / "here"), str(Path.home() / "d"))


def test_a_record_of_a_run_can_be_read_in_another_checkout() -> None:
    config = Config(model=Model(path=str(ROOT / "weights" / "x")), data=Data(path="/data/x"))
    record = as_record(config)
    assert (record["model"]["path"], record["data"]["path"]) == (os.path.join("weights", "x"), "/data/x")
    assert absolute(record["model"]["path"], "model.path", ROOT) == config.model.path
    banked = as_record(replace(config, data=Data(skill_bank=str(ROOT / "datasets" / "skills.jsonl"))))
    assert banked["data"]["skill_bank"] == os.path.join("datasets", "skills.jsonl")
    remote = replace(config, model=Model(path="gs://bucket/x"), data=Data())
    assert as_record(remote)["model"]["path"] == "gs://bucket/x" and as_record(remote)["data"]["path"] == ""


def test_nothing_is_created_by_looking_whether_it_could_be(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("kept")
    (tmp_path / "dangling").symlink_to("nowhere")
    check_writable(tmp_path / "new" / "deep", "--out")
    check_writable_file(str(tmp_path / "new" / "deep" / "file"), "--out")
    check_writable("gs://bucket/run", "--out")
    for taken in (file, file / "below", tmp_path / "dangling"):
        with pytest.raises(InputError, match="--out .* is not a directory"):
            check_writable(taken, "--out")
    with pytest.raises(InputError, match="is a directory"):
        check_writable_file(str(tmp_path), "--out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dangling", "file"] and file.read_text() == "kept"


def test_a_directory_that_may_not_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)  # root may write everywhere
    with pytest.raises(InputError, match="cannot be written"):
        check_writable(tmp_path / "run", "--workdir")


COMMANDS = {
    "train": (lambda argv: arguments.parse(argv, about=""), [*TINY, "--workdir", "{}"]),
    "train config": (lambda argv: arguments.parse(argv, about=""), ["--config", "{}", "--workdir", "w"]),
    "train model": (lambda argv: arguments.parse(argv, about=""), [*TINY, "--workdir", "w", "--model.path", "{}"]),
    "evaluate": (evaluate.main, ["--checkpoint", "{}", "--benchmark", "tiny"]),
    "export": (export.main, ["--checkpoint", "{}", "--out", "w"]),
    "export out": (export.main, ["--checkpoint", "w", "--out", "{}"]),
    "report": (report.main, ["--workdir", "{}"]),
    "report compare": (report.main, ["--workdir", "w", "--compare", "w", "{}"]),
    "prepare build": (prepare.main, ["build", "--sources", "tiny", "--out", "{}"]),
    "prepare decontaminate": (prepare.main, ["decontaminate", "--sources", "tiny", "--against", "x", "--out", "{}"]),
}


@pytest.mark.parametrize("text", ["", "a\nb", "gs:/bucket/x"])
@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_refuses_such_a_path_and_writes_nothing(
    name: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command, argv = COMMANDS[name]
    with pytest.raises(InputError) as refused:
        command([word.replace("{}", text) for word in argv])
    assert "\n" not in str(refused.value)
    assert not [*tmp_path.iterdir()]


def test_a_file_is_no_workdir_and_no_place_for_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("kept")
    for command, argv in [
        (lambda argv: arguments.parse(argv, about=""), [*TINY, "--workdir", "file/run"]),
        (
            evaluate.main,
            ["--checkpoint", str(paths.ROOT / "assets/tiny_qwen3"), "--benchmark", "tiny", "--out", "file"],
        ),
        (export.main, ["--checkpoint", "w", "--out", "file/x"]),
        (prepare.main, ["build", "--sources", "tiny", "--out", "file/x"]),
    ]:
        with pytest.raises(InputError, match="file"):
            command(argv)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_variables_name_directories_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.chdir(tmp_path)
    for text, meant in [("", ""), ("a b/c", str(tmp_path / "a b" / "c")), ("gs://bucket/c", "gs://bucket/c")]:
        monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", text)
        assert paths.from_environment("JAX_COMPILATION_CACHE_DIR") == meant
    for text in ("file", "file/below", "a\nb"):
        monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", text)
        with pytest.raises(InputError, match="JAX_COMPILATION_CACHE_DIR"):
            paths.from_environment("JAX_COMPILATION_CACHE_DIR")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_checkpoint_directory_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    state = {"w": np.arange(3.0)}
    store = checkpoint.open_store("here/checkpoints")
    checkpoint.save(store, 1, state, {"step": 1})
    checkpoint.close(store)
    assert checkpoint.restore_meta("here/checkpoints", 1) == {"step": 1}
    assert checkpoint.restore("here/checkpoints", 1, state)["w"].tolist() == [0, 1, 2]

"""Run directories that are damaged or not ours are refused in one line; so are remote paths without their package."""

import importlib.util
import json
from pathlib import Path

import pytest
from etils import epath

from hsd_jax.config import Config
from hsd_jax.data import difficulty
from hsd_jax.errors import InputError
from hsd_jax.evaluation import runner
from hsd_jax.runtime import manifest, paths, workdir

DEEP, NO_SAMPLES = "[" * 5000, '{"samples": 0, "correct": {"a": 1}}'


@pytest.mark.parametrize(
    "content",
    [
        "",
        "3",
        "[]",
        '{"config": 3}',
        '{"config": null}',
        '{"config": []}',
        "{}",
        "[" * 5000,
        '{"config": ' + '{"a":' * 3000,
    ],
)
def test_a_config_that_is_not_a_runs_is_refused(tmp_path: Path, content: str):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError, match="its config.json is not a run's"):
        workdir.open_workdir(str(tmp_path), Config(), resume=True, overwrite=False, allow_changes=False, command=[])
    assert sorted(file.name for file in tmp_path.iterdir()) == ["config.json"]


@pytest.mark.parametrize("name", ["metrics.jsonl", "lock", "rollouts", "checkpoints"])
def test_a_directory_in_a_files_place_and_the_reverse_are_refused(tmp_path: Path, name: str):
    (tmp_path / name).mkdir() if name in workdir.FILES else (tmp_path / name).write_text("x")
    with pytest.raises(InputError, match=f"its {name} is no "):
        workdir.open_workdir(str(tmp_path), Config(), resume=True, overwrite=False, allow_changes=False, command=[])
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("content", ["", "3", "[]", '{"a": 1}', '{"a": [1]}', '{"a": ["x", 1]}', "[" * 5000])
def test_a_damaged_manifest_is_named(tmp_path: Path, content: str):
    (tmp_path / manifest.MANIFEST).write_text(content)
    assert manifest.damage(epath.Path(tmp_path)) == "manifest.json is not readable"
    (tmp_path / manifest.MANIFEST).unlink()
    (tmp_path / manifest.MANIFEST).mkdir()
    assert manifest.damage(epath.Path(tmp_path)) == "manifest.json is not readable"
    (tmp_path / manifest.MANIFEST).rmdir()
    (tmp_path / manifest.MANIFEST).write_text(json.dumps({}))
    assert not manifest.damage(epath.Path(tmp_path))


@pytest.mark.parametrize(
    "content", ["", "3", "[]", "{}", '{"id": 1}', "[" * 5000, '{"samples": 0, "correct": {"a": 1}}']
)
def test_damaged_files_of_an_evaluation_are_named(tmp_path: Path, content: str):
    (tmp_path / "answers.jsonl").write_text(f"{content or 'x'}\n")
    with pytest.raises(InputError, match=r"answers.jsonl:1 is no answer"):
        runner.saved(tmp_path / "answers.jsonl")
    (tmp_path / difficulty.FILE).write_text(content)
    with pytest.raises(InputError, match="not a difficulty file"):
        difficulty.write(tmp_path, {}, samples=1, settings={})


@pytest.mark.parametrize(("path", "package"), [("gs://bucket/run", "gcsfs"), ("s3://bucket/run", "s3fs")])
def test_a_remote_path_without_its_package_is_refused(path: str, package: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=rf"--workdir '{path}': needs the package {package}; install it"):
        paths.resolve_path(path, "--workdir")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert paths.resolve_path(path, "--workdir") == path

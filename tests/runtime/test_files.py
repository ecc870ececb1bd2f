"""A file is replaced whole, and what was there stays where the new one cannot be written."""

from pathlib import Path

import pytest
from etils import epath

from hsd_jax.runtime import files


@pytest.mark.parametrize("kind", [str, Path, epath.Path])
def test_a_file_is_replaced_whole(tmp_path: Path, kind: type):
    target = tmp_path / "a.json"
    files.replace(kind(target), "one\n")
    files.replace(kind(target), "zwölf".encode("utf-16"), part=".7.part")
    assert target.read_text("utf-16") == "zwölf"
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_what_was_there_stays_if_the_new_text_cannot_be_written(tmp_path: Path):
    files.replace(tmp_path / "a", "old")
    (tmp_path / "a.part").mkdir()
    with pytest.raises(OSError):
        files.replace(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "old"


def test_what_is_kept_is_found_again_where_it_cannot_be_read_or_written(tmp_path: Path):
    calls = []

    def number() -> int:
        return files.kept(tmp_path / "n", lambda: calls.append(0) or len(calls), int, lambda n: str(n).encode())

    assert [number(), number()] == [1, 1]
    (tmp_path / "n").write_text("many")
    assert [number(), number()] == [2, 2]
    (tmp_path / "n").unlink()
    (tmp_path / "n").mkdir()
    assert [number(), number()] == [3, 4]

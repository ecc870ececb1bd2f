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

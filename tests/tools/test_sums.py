"""Short sums: right answers, no question in both files, and a config that reads them."""

import json
import re
from pathlib import Path

import pytest

from hsd_jax.config import load
from hsd_jax.errors import InputError
from tests.support.paths import ROOT
from tools import sums


def test_questions_have_their_answers_and_one_file_each(tmp_path: Path):
    sums.main(["--out", str(tmp_path), "--train", "200", "--test", "40"])
    rows = {
        s: [json.loads(line) for line in (tmp_path / f"{s}.jsonl").read_text().splitlines()] for s in ("train", "test")
    }
    assert {split: len(found) for split, found in rows.items()} == {"train": 200, "test": 40}
    assert not {row["question"] for row in rows["train"]} & {row["question"] for row in rows["test"]}
    plain = [
        row for row in rows["train"] if (found := re.fullmatch(r"What is ([\d +-]+)\?", row["question"])) and found
    ]
    assert len(plain) > 20
    for row in plain:
        assert eval(row["question"][8:-1]) == int(row["answer"])
    assert all(int(row["answer"]) >= 0 for row in rows["train"])


def test_impossible_counts_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match="must be from 1 to 2,000; got 0 and 128"):
        sums.main(["--out", str(tmp_path), "--train", "0"])


def test_the_config_reads_them():
    config = load(ROOT / "configs/smollm2_sums.py")
    assert (config.data.source, config.data.path, config.model.path) == ("jsonl", "runs/sums", "runs/smollm2")

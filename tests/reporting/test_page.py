"""The page as a file: what it holds, what it survives, and that nothing in a log can become markup."""

import base64
import dataclasses
import hashlib
import json
import re
import struct
import subprocess
import sys
import zlib
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from hsd_jax import report
from hsd_jax.errors import InputError
from hsd_jax.reporting import figures
from hsd_jax.reporting.figures import Series
from hsd_jax.reporting.logs import parse_group, read_groups, read_jsonl, read_run
from hsd_jax.reporting.page import encode, render, svg
from tests.support.report_workdir import make_workdir, problem, write_groups


class Scripts(HTMLParser):
    """Collects script elements by id, all visible text, and every address an element would load."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts: dict[str, str] = {}
        self.kinds: Counter[str] = Counter()
        self.text: list[str] = []
        self.addresses: list[str] = []
        self.inside: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "script":
            self.kinds[given.get("type") or "script"] += 1
            self.inside = given.get("id") or "main"
            self.scripts[self.inside] = ""
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action", "data", "poster")]

    def handle_endtag(self, tag: str) -> None:
        self.inside = None if tag == "script" else self.inside

    def handle_data(self, data: str) -> None:
        if self.inside is None:
            self.text.append(data)
        else:
            self.scripts[self.inside] += data


def parsed(workdir: Path, **arguments: object) -> Scripts:
    path = report.write_report(report.Arguments(workdir, **arguments))[0]  # type: ignore[arg-type]
    parser = Scripts()
    parser.feed(path.read_text(encoding="utf-8"))
    return parser


def said(parser: Scripts) -> str:
    return " ".join(" ".join(parser.text).split())


def test_nothing_is_loaded_and_only_our_script_runs(tmp_path: Path) -> None:
    parser = parsed(make_workdir(tmp_path / "run", steps=2, problems=2))
    assert parser.kinds["script"] == 1
    assert all(address.startswith(("#", "data:,")) for address in parser.addresses)
    text = (tmp_path / "run" / "report" / "index.html").read_text()
    assert "http://" not in text and "https://" not in text
    policy = re.search(r"script-src '(sha256-[^']+)'", text)
    assert policy is not None
    code = parser.scripts["main"].encode()
    assert policy[1] == "sha256-" + base64.b64encode(hashlib.sha256(code).digest()).decode()


def test_a_block_gives_back_what_the_log_says(tmp_path: Path) -> None:
    workdir = make_workdir(tmp_path / "run", steps=1, problems=2, group=4)
    parser = parsed(workdir)
    raw = [json.loads(line) for line in next((workdir / "rollouts").iterdir()).read_text().splitlines()]
    table = json.loads(inflate(parser.scripts["tokens"]))
    for index, group in enumerate(raw):
        block = inflate(parser.scripts[f"block-{index}"])
        length = struct.unpack_from("<I", block)[0]
        header = json.loads(block[4 : 4 + length])
        assert header["question"] == group["question"] and header["contexts"] == group["contexts"]
        assert header["lengths"] == [len(rollout["tokens"]) for rollout in group["rollouts"]]
        size, at = sum(header["lengths"]), 4 + length
        planes = np.frombuffer(block, np.uint8, offset=at).reshape(-1, size)
        tokens = [table[a | int(b) << 8 | int(c) << 16] for a, b, c in zip(*planes[:3].astype(int), strict=True)]
        assert tokens == [token for rollout in group["rollouts"] for token in rollout["tokens"]]
        credit = (planes[3].astype(np.uint16) | planes[4].astype(np.uint16) << 8).view(np.float16)
        np.testing.assert_allclose(credit, [c for r in group["rollouts"] for c in r["credit"]], rtol=1e-3, atol=1e-4)
        # Reference, then six numbers of two planes each, then reference and chance of each alternative of both.
        assert len(planes) == 3 + 6 * 2 + 2 * header["alternatives"] * (3 + 2)


def inflate(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text), -15)


def test_index_names_every_rollout(tmp_path: Path) -> None:
    workdir = make_workdir(tmp_path / "run", steps=3, problems=2, group=5)
    parser = parsed(workdir)
    data = json.loads(parser.scripts["data"])
    assert [len(group["rollouts"]) for group in data["groups"]] == [5] * 6
    groups = list(read_groups(workdir, Counter()))
    for shown, group in zip(data["groups"], groups, strict=True):
        for a, b in zip(shown["rollouts"], group.rollouts, strict=True):
            assert (a["reward"], a["reason"], a["peer"], a["divergence"]) == (b.reward, b.reason, b.peer, b.divergence)
            assert a["peak"] == pytest.approx(float(np.abs(b.credit).max()))


def test_model_output_cannot_leave_its_script_element(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script><!--<script>&lt;\u2028\u2029</pre><img src=x onerror=alert(2)>"
    workdir = make_workdir(tmp_path / "run<b>", steps=1, problems=1, group=2)
    group = problem(10, 0, 2, 30, 0.5, np.random.default_rng(0))
    group |= {"question": evil, "answer": evil, "question_id": evil, "source": evil, "contexts": [evil, evil]}
    for rollout in group["rollouts"]:
        rollout |= {"reason": evil, "extracted": evil, "text": evil}
        rollout["tokens"][0] = evil
    write_groups(workdir, 10, [group])
    parser = parsed(workdir)
    assert parser.kinds == {"application/json": 1, "text/plain": 2, "script": 1}
    assert "alert(" not in said(parser)
    data = json.loads(parser.scripts["data"])
    assert data["groups"][0]["id"] == evil and data["groups"][0]["rollouts"][0]["reason"] == evil
    page_text = (workdir / "report" / "index.html").read_text()
    assert "<b>" not in re.sub(r"<script.*?</script>", "", page_text, flags=re.S)


def test_broken_bytes_half_lines_and_nonsense_are_counted(tmp_path: Path) -> None:
    workdir = make_workdir(tmp_path / "run", steps=1, problems=1, group=4)
    log = next((workdir / "rollouts").iterdir())
    good = log.read_bytes()
    broken = good.replace(b"What is", b"\xff\xfe\xc3 What is")
    surrogate = good.replace(b'"question": "', b'"question": "\\ud800 ')
    log.write_bytes(broken + surrogate + b"[1, 2]\n" + b'{"rollouts": 3}\n' + b"{not json}\n" + good[: len(good) // 2])
    with (workdir / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 11, "loss": 0.')
    parser = parsed(workdir)
    text = said(parser)
    assert "metrics.jsonl: half-written last line" in text
    assert f"{log.name}: half-written last line" in text
    assert f"{log.name}: unreadable lines" in text
    assert "problems without a list of rollouts" in text
    data = json.loads(parser.scripts["data"])
    assert len(data["groups"]) == 2
    assert all("\ufffd" in group["preview"] for group in data["groups"])


@pytest.mark.parametrize(
    "change",
    [
        {"tokens": None, "credit": None},
        {"credit": [1.0]},
        {"credit": ["x", None, {}]},
        {"credit": [float("nan"), float("inf"), 1e30], "student_logprob": [float("-inf")]},
        {"peer": 99, "context": 99, "divergence": 10**9},
        {"peer": "0", "reward": "1", "weight": None},
        {"top_student": [["a", 1], "b", None, [["a"]], [["a", "b"]]]},
        {"reward": 10**400, "finished": None},
    ],
)
def test_damaged_rollouts_are_shown_as_far_as_they_go(tmp_path: Path, change: dict) -> None:
    workdir = make_workdir(tmp_path / "run", steps=1, problems=1, group=3)
    group = problem(10, 0, 3, 20, 0.5, np.random.default_rng(1))
    group["rollouts"][1] |= change
    write_groups(workdir, 10, [group, 7, {"rollouts": [3, None]}])  # type: ignore[list-item]
    data = json.loads(parsed(workdir).scripts["data"])
    assert [len(item["rollouts"]) for item in data["groups"]] == [3, 2]


def test_empty_run_and_run_without_rollouts_say_so(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    assert "has not recorded a step yet" in said(parsed(tmp_path / "new"))
    workdir = make_workdir(tmp_path / "early", steps=0, problems=0)
    (workdir / "metrics.jsonl").write_text('{"step": 1, "reward": 0.25}\n')
    text = said(parsed(workdir))
    assert "has not recorded" not in text and "No rollouts have been recorded yet" in text and "0.25" in text


def test_a_resumed_run_keeps_the_newest_record_of_a_step(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text(
        '{"step": 2, "loss": 1.0}\n{"step": 1, "loss": 3.0}\n{"step": 2, "loss": 2.0}\n'
    )
    run = read_run(tmp_path)
    assert [(record["step"], record["loss"]) for record in run.metrics] == [(1, 3.0), (2, 2.0)]


def test_the_page_keeps_its_size_and_says_what_it_left_out(tmp_path: Path) -> None:
    workdir = make_workdir(tmp_path / "run", steps=4, problems=6, length=200)
    whole = (parsed(workdir), (workdir / "report" / "index.html").stat().st_size)
    small = parsed(workdir, max_megabytes=0.7)
    assert (workdir / "report" / "index.html").stat().st_size < 700_000 < whole[1]
    kept = Counter(group["step"] for group in json.loads(small.scripts["data"])["groups"])
    assert set(kept) == {10, 20, 30, 40} and sum(kept.values()) < 24
    assert f"holds {sum(kept.values())} of 24 recorded problems" in said(small)
    assert "recorded problems, spread" not in said(whole[0])


def test_groups_are_chosen_evenly_over_steps() -> None:
    assert render.choose_groups([1, 1, 2, 2], [300] * 4, 2 * 800) == [0, 2]
    assert render.choose_groups([1, 1, 2, 2], [300] * 4, 3 * 800) == [0, 2, 3]
    assert render.choose_groups([1, 1], [300] * 2, 0) == []


def test_compared_runs_appear_in_every_curve(tmp_path: Path) -> None:
    make_workdir(tmp_path / "a" / "run", steps=1)
    make_workdir(tmp_path / "b" / "run", steps=1, seed=5)
    parser = parsed(tmp_path / "a" / "run", compare=(tmp_path / "b" / "run",))
    drawn = json.loads(parser.scripts["data"])["charts"]
    for name in ("reward", "loss", "credit_by_offset", "time_per_phase"):
        assert [line["label"] for line in drawn[name]["series"]] == ["run", "run (2)"]


def test_command_refuses_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hsd_jax.report", "--workdir", str(tmp_path / "nowhere")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and done.stdout == ""
    assert "--workdir" in done.stderr and "nowhere" in done.stderr and len(done.stderr.splitlines()) == 1
    with pytest.raises(InputError, match="max-megabytes"):
        report.write_report(report.Arguments(tmp_path, max_megabytes=0))


def test_script_json_is_inert_and_says_the_same() -> None:
    value = {"a": "</script>&\u2028\u202e\ud800", "b": [float("nan"), 1.5, np.float32(2)], "c": np.int64(3)}
    text = encode.script_json(value)
    assert text.isascii() and not set("<>&") & set(text)
    assert json.loads(text) == {"a": value["a"], "b": [None, 1.5, 2.0], "c": 3}


def test_half_keeps_the_digits_it_promises() -> None:
    values = np.random.default_rng(0).normal(0, 3, 1000).astype(np.float32)
    for dropped, error in ((0, 2**-11), (3, 2**-8 + 2**-11)):
        back = encode.half([values], dropped).view(np.float16).astype(np.float32)
        np.testing.assert_allclose(back, values, rtol=error * 1.001, atol=1e-6)
    special = encode.half([np.array([np.nan, np.inf, -np.inf, 1e9], np.float32)], 3).view(np.float16)
    assert np.isnan(special[0]) and special[1] > 5e4 and special[2] < -5e4 and np.isfinite(special[1:]).all()


def test_thinned_lines_keep_their_extremes() -> None:
    y = np.random.default_rng(0).normal(size=20_000)
    x, kept, _ = svg.thinned(Series("a", np.arange(20_000.0), y))
    assert len(x) <= svg.MOST_POINTS and kept.max() == y.max() and kept.min() == y.min()


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-3.2, 7.9), (0.0, 1e-7), (1e5, 3e6)])
def test_ticks_hold_the_range_and_are_few(low: float, high: float) -> None:
    marks = svg.ticks(low, high)
    assert marks[0] <= low + 1e-12 and marks[-1] >= high - 1e-12 and 3 <= len(marks) <= 12


def test_json_lines_of_any_kind_do_not_stop_the_reader(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"[" * 100_000 + b"\n\n" + b'{"a": 1}\n' + b"\x00\xff\n" + b"1" * 5000 + b"\n")
    damage: Counter[str] = Counter()
    assert list(read_jsonl(path, damage)) == [{"a": 1}]
    assert sum(damage.values()) == 3
    assert parse_group({"rollouts": []}, damage) is not None


def test_a_run_without_numbers_is_not_named_in_the_legend() -> None:
    """Two runs, one of a method without credit: a single line needs no legend, and a missing one no name."""
    x = np.arange(3.0)
    lines = [figures.Series(name, x, y) for name, y in (("hsd", x), ("grpo", x * np.nan), ("opsd", x + 1))]
    figure = figures.Figure("credit", "Credit", "", "offset", "nats", tuple(lines))
    assert [key["label"] for key in render._legend(figure)] == ["hsd", "opsd"]
    assert render._legend(dataclasses.replace(figure, series=tuple(lines[:2]))) == []

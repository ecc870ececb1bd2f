"""Random input raises nothing but the documented error: configs, flags, run directories; splicing loses and adds no id.

Rows of corpora are in `test_fuzz_rows.py`, responses in `verifiers/test_hostile_fuzz.py`. 30 inputs by default;
HSD_JAX_FUZZ_EXAMPLES=10000 runs the long campaign.
"""

import dataclasses
import itertools
import json
import os
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from etils import epath
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hsd_jax.config import Config, load
from hsd_jax.errors import EXIT_REFUSED, InputError
from hsd_jax.reading.contexts import Chosen, Window, read_contexts
from hsd_jax.reading.pieces import ANSWER as TRUE_ANSWER
from hsd_jax.reading.pieces import PEER, Reads, privileged, reads_block
from hsd_jax.reading.pieces import SOLUTION as WRITTEN
from hsd_jax.reading.ragged import splice
from hsd_jax.run import arguments
from hsd_jax.runtime import cli, faults, workdir
from hsd_jax.types import Padded, Problems, Rollouts
from tests.support.padding import fixed_texts, right_padded, right_padded_groups

EXAMPLES = int(os.environ.get("HSD_JAX_FUZZ_EXAMPLES", "30"))
fuzz = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)

# --- configs and flags

FLAGS = cli.flags(Config())
values = st.one_of(
    st.text(max_size=12),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(["true", "hsd", "1e-3", "[1]", "-1", ""]),
)
words = st.one_of(st.sampled_from(FLAGS), st.text(max_size=15).map(lambda text: f"--{text}"), values)
argv = st.lists(st.one_of(st.tuples(st.sampled_from(FLAGS), values), st.tuples(words)), max_size=4).map(
    lambda groups: [word for group in groups for word in group]
)


@fuzz
@given(argv)
def test_any_command_line_is_a_config_or_one_line(given: list[str]) -> None:
    try:
        found = arguments.parse(["--config", "configs/tiny.py", "--workdir", "x", *given], about="")
        assert isinstance(found.settings, Config)
    except InputError as refused:
        line, code = faults.error_line(refused)
        assert line and len(line.splitlines()) == 1 and code == EXIT_REFUSED
    except SystemExit as asked:  # --help
        assert not asked.code


fields = st.sampled_from([field.name for field in dataclasses.fields(Config)]) | st.text(max_size=8)
pieces = st.one_of(
    st.text(max_size=40),
    st.builds(
        lambda name, value: f"config = Config(**{{{name!r}: {value!r}}})", fields, st.integers() | st.text(max_size=5)
    ),
    st.sampled_from(
        ["config = 1", "raise SystemExit(3)", "import sys; sys.exit()", "config = Config()", "1 / 0", "\0", "def f(:"]
    ),
)


@fuzz
@given(st.lists(pieces, max_size=3))
def test_any_config_file_is_a_config_or_one_line(lines: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mine.py"
        file.write_text("from hsd_jax.config import Config\n" + "\n".join(lines), "utf-8", "surrogatepass")
        try:
            assert isinstance(load(file), Config)
        except InputError as refused:
            line, _ = faults.error_line(refused)
            assert str(file) in line and len(line.splitlines()) == 1


# --- splicing

P, G, T, WIDTH = 2, 3, 6, 40
HEAD, ANSWER, SOLUTION, TAIL, OPEN, CLOSE, CLOSING = 8, 4, 4, 4, 2, 2, 3
ids = st.integers(1, 99)


def sequences(longest: int, shortest: int = 0) -> st.SearchStrategy[list[int]]:
    return st.lists(ids, min_size=shortest, max_size=longest)


# padded with an id that no piece has, so that a pad inside would be seen
padded = partial(right_padded, pad_id=777)


@dataclasses.dataclass(frozen=True)
class Case:
    """Pieces of two problems, a frame, three responses to each, their peers, and a window."""

    head: list[list[int]]
    answer: list[list[int]]
    solution: list[list[int]]
    tail: list[list[int]]
    opening: list[int]
    close: list[int]
    closing: list[int]
    responses: list[list[list[int]]]
    finished: list[list[bool]]
    peers: list[list[int]]
    extra: int
    least: int


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Lengths are drawn; ids are numbered, so that each is known wherever it lands (1 is left for filling up)."""
    fresh = itertools.count(2)

    def piece(longest: int, shortest: int = 0) -> list[int]:
        return list(itertools.islice(fresh, draw(st.integers(shortest, longest))))

    def peers() -> list[int]:
        # at most two distinct peers in a group, as coupled draws make them
        two = draw(st.sampled_from([(a, b) for a in range(-1, G) for b in range(-1, G)]))
        return [draw(st.sampled_from(two)) for _ in range(G)]

    return Case(
        head=[piece(HEAD, 1) for _ in range(P)],
        answer=[piece(ANSWER) for _ in range(P)],
        solution=[piece(SOLUTION) for _ in range(P)],
        tail=[piece(TAIL, 1) for _ in range(P)],
        opening=piece(OPEN, OPEN),
        close=piece(CLOSE, CLOSE),
        closing=piece(CLOSING, CLOSING),
        responses=[[piece(T, 1) for _ in range(G)] for _ in range(P)],
        finished=[[draw(st.booleans()) for _ in range(G)] for _ in range(P)],
        peers=[peers() for _ in range(P)],
        extra=draw(st.integers(0, OPEN + CLOSE + T + 2)),
        least=draw(st.integers(0, T)),
    )


READS = [privileged(TRUE_ANSWER, PEER), privileged(TRUE_ANSWER, WRITTEN, PEER), privileged(TRUE_ANSWER)]
# one window for every case: what a case leaves free of it is taken by its first piece
spliced = jax.jit(splice, static_argnames="width")
contexts_of = jax.jit(read_contexts, static_argnames="reads")


@fuzz
@given(st.lists(sequences(7), min_size=3, max_size=3), st.sampled_from([9, 21]))
def test_splicing_keeps_every_id_in_order(rows: list[list[int]], width: int) -> None:
    out = spliced([padded([row], 7) for row in rows], width=width)
    whole = [i for row in rows for i in row]
    assert np.asarray(out.tokens)[0].tolist() == (whole + [0] * width)[:width]
    assert int(out.length[0]) == min(len(whole), width)


@fuzz
@given(cases(), st.sampled_from(READS))
def test_a_teacher_reads_the_very_ids_and_only_a_peers_tail_is_cut(case: Case, reads: Reads) -> None:
    fixed = [fixed_ids(case, reads, p) for p in range(P)]
    longest = max(len(before) + len(after) for before, after in fixed)
    filler = [1] * (WIDTH - longest - case.extra)
    case = dataclasses.replace(case, head=[filler + head for head in case.head])
    made, found = built(case, reads)
    tokens, length, of = made.tokens_PMC, made.length_PM, made.context_index_PG
    for p in range(P):
        before, after = fixed_ids(case, reads, p)
        for g in range(G):
            read = tokens[p, of[p, g], : length[p, of[p, g]]].tolist()
            peer = case.peers[p][g]
            text = [] if peer < 0 else case.responses[p][peer]
            text = text[:-1] if peer >= 0 and case.finished[p][peer] else text
            room = WIDTH - len(before + case.opening + case.close + after)
            kept = peer >= 0 and PEER in reads and room >= min(case.least, len(text))
            middle = case.opening + text[:room] + case.close if kept else []
            assert read == before + middle + after
            assert read[len(read) - len(after) :] == after and 777 not in read
            assert (bool(found.has_peer_PG[p, g]), bool(found.peer_truncated_PG[p, g])) == (
                kept,
                kept and room < len(text),
            )


def fixed_ids(case: Case, reads: Reads, p: int) -> tuple[list[int], list[int]]:
    """What is never cut: the ids before and after the peer."""
    blocks = (("answer", case.answer[p]), ("solution", case.solution[p]))
    before = case.head[p] + [token for name, text in blocks if reads_block(reads, name) for token in text]
    return before, case.closing + case.tail[p]


def built(case: Case, reads: Reads) -> Any:
    numbered: Any = np.arange(P, dtype=np.uint32)
    limits: Any = np.full(P, T)
    nothing = Padded(*(np.zeros(shape, np.int32) for shape in ((P, 0, 0), (P, 0))))  # type: ignore[arg-type]
    problems = Problems(
        id_P=numbered,
        prefix=padded(case.head, WIDTH),
        answer=padded(case.answer, ANSWER),
        solution=padded(case.solution, SOLUTION),
        feedback=nothing,
        wrong_answer=nothing,
        suffix=padded(case.tail, TAIL),
        limit_P=limits,
    )
    frame = fixed_texts(peer_open=case.opening, peer_close=case.close, closing=case.closing)
    responses = right_padded_groups(case.responses, T, pad_id=777)
    finished: Any = np.array(case.finished)
    logprob: Any = np.zeros((P, G, T), np.float32)
    rollouts = Rollouts(
        response_PGT=responses.tokens,
        length_PG=responses.length,
        finished_PG=finished,
        logprob_PGT=logprob,
    )
    chosen = Chosen({PEER: np.array(case.peers, np.int32)[..., None]}, {})  # type: ignore[dict-item]
    least: Any = np.int32(case.least)
    texts: Any = {"problems": problems, "frame": frame, "rollouts": rollouts, "chosen": chosen}
    return jax.device_get(contexts_of(reads, **texts, window=Window(WIDTH, least)))


# --- run directories

line_values = st.none() | st.integers(-3, 20) | st.floats() | st.text(max_size=5) | st.lists(st.integers(), max_size=2)
lines = st.one_of(
    st.integers(0, 12).map(lambda step: json.dumps({"step": step, "loss": 0.1})),
    line_values.map(lambda value: json.dumps({"step": value})),
    line_values.map(json.dumps),
    st.text(max_size=20),
)


@fuzz
@given(
    st.lists(lines, max_size=8), st.binary(max_size=10), st.integers(-1, 12), st.sets(st.integers(0, 15), max_size=5)
)
def test_discarding_keeps_good_lines_and_runs_on_anything(
    rows: list[str], torn: bytes, step: int, logged: set[int]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "rollouts").mkdir()
        for one in logged:
            (root / "rollouts" / f"step-{one:06d}.jsonl").write_text("{}\n")
        (root / "rollouts" / ".hidden-x").write_text("")
        content = "".join(f"{row}\n" for row in rows).encode("utf-8", "replace")
        (root / "metrics.jsonl").write_bytes(content + torn)
        workdir.discard_after(epath.Path(root), step)
        left = (root / "metrics.jsonl").read_text().splitlines()
        good = [row for row in rows if row in [json.dumps({"step": s, "loss": 0.1}) for s in range(step + 1)]]
        assert [row for row in left if '"loss"' in row] == good
        assert all(type(json.loads(row)["step"]) is int and json.loads(row)["step"] <= step for row in left)
        names = {file.name for file in (root / "rollouts").iterdir()}
        assert names == {f"step-{one:06d}.jsonl" for one in logged if one <= step} | {".hidden-x"}


@fuzz
@given(st.binary(max_size=40))
def test_any_config_of_a_workdir_is_taken_or_refused(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_bytes(content)
        try:
            opened = workdir.open_workdir(
                folder, Config(), resume=False, overwrite=False, allow_changes=False, command=["train"]
            )
        except InputError:
            assert sorted(file.name for file in Path(folder).iterdir()) == ["config.json"]
            return
        raise AssertionError(f"taken over: {opened}")


# --- faults


@fuzz
@given(st.text(max_size=80), st.sampled_from([OSError, ValueError, RuntimeError, MemoryError, KeyError]))
def test_any_error_is_explained_in_one_line_or_not_at_all(text: str, kind: type[Exception]) -> None:
    line = faults.explain(kind(text))
    assert line is None or (line and len(line.splitlines()) == 1)

"""TESSY's labels, cuts, predictor and turns."""

import jax
import numpy as np
import pytest

from examples.related import bench, tessy
from hsd_jax.data import tiny
from tests.support.numpy_qwen3 import CONFIG, causal, random_params, run

OWN = "7+3=0\n0-2=8\nThe answer is \\boxed{8}."
THEIRS = "7+3=0, then 0-2=8, then so it is \\boxed{8}."


@pytest.fixture(scope="module")
def lab() -> bench.Bench:
    """The tokenizer alone."""
    tokenizer = bench.Tokenizer.from_file(str(bench.MODEL / "tokenizer.json"))
    return bench.Bench(CONFIG, tokenizer, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", [OWN, THEIRS])
def test_style_is_all_but_the_steps_and_the_boxed_digit(lab: bench.Bench, text: str) -> None:
    ids, style = lab.encode(text), tessy.is_style(lab, text)
    content = lab.tokenizer.decode([i for i, styled in zip(ids, style, strict=True) if not styled])
    assert content == "7+3=00-2=88"


@pytest.mark.parametrize(
    ("style", "who", "kept"),
    [("110", "student", 2), ("011", "student", 0), ("11", "student", 2), ("001", "teacher", 2), ("1", "teacher", 0)],
)
def test_cuts(style: str, who: str, kept: int) -> None:
    assert tessy.cut([s == "1" for s in style], who) == kept


def test_a_turn_cuts_where_the_predictor_says_so(lab: bench.Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """sigmoid(w h + b) > 1/2 at the token before, with the hidden states of NumPy's model."""
    params, rng = random_params(1), np.random.default_rng(0)
    texts = [rng.integers(0, 23, n).tolist() for n in (4, 6)]
    chunks = [rng.integers(0, 23, 5).tolist() for _ in texts]
    monkeypatch.setattr(bench, "write", lambda *_, **__: chunks)
    monkeypatch.setattr(tessy, "WINDOW", 12)
    monkeypatch.setattr(tessy, "TEXTS", 2)
    boundary = np.append(rng.standard_normal(CONFIG.width), 0.1)
    got = tessy.turn(lab, tessy.Writer(params, {}, boundary), "student", texts, jax.random.key(0))
    for text, chunk, (written, kept) in zip(texts, chunks, got, strict=True):
        final = run(params, np.array(text + chunk), causal(len(text) + 5)).final
        style = final[len(text) - 1 : -1] @ boundary[:-1] + boundary[-1] > 0
        assert np.abs(final @ boundary[:-1] + boundary[-1]).min() > 1e-3
        assert (written, kept) == (chunk, tessy.cut(style, "student"))


def test_both_write_what_is_theirs(lab: bench.Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """With writers that continue their own solution and predictors that know, a text has one's style, one's content.

    The teacher takes longer chunks than a step, and a student's chunk may be cut at its first token.
    """
    right, wrong = OWN, OWN.replace("8", "9").replace("-2", "-3")
    asked: list[str] = []

    def turn(lab: bench.Bench, writer: str, who: str, texts: list[list[int]], key: jax.Array):
        asked.append(who)
        out = []
        for text in texts:
            whole = lab.encode(writer + bench.STOP)
            style = [*tessy.is_style(lab, writer), True]
            chunk = whole[len(text) :][: tessy.CHUNK[who]]
            out.append((chunk, tessy.cut(style[len(text) :][: len(chunk)], who)))
        return out

    monkeypatch.setattr(tessy, "turn", turn)
    writers = {"student": wrong, "teacher": right}
    (written,) = tessy.interleave(lab, writers, [[]], jax.random.key(0))  # type: ignore[arg-type]
    assert lab.tokenizer.decode(written) == right
    assert asked[:3] == ["student", "teacher", "student"]


def test_lessons_are_right_and_in_the_teachers_words(lab: bench.Bench) -> None:
    rng, seen = np.random.default_rng(0), set()
    for problem in tiny.generate(60, split="train", seed=0):
        text = lab.tokenizer.decode(tessy.lesson(lab, problem, rng)[1])
        assert text.replace(", then ", "\n").replace("so it is", "The answer is") == problem.solution
        seen.add("\n" in text)
    assert seen == {True, False}

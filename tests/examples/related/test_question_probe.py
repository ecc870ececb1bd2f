"""The question probe's hidden states, probe, AUC, rates and texts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from examples.related import bench, question_probe
from examples.related.bench import Texts
from tests.support.numpy_qwen3 import CONFIG, causal, random_params, run


@pytest.fixture(scope="module")
def lab() -> bench.Bench:
    """The tokenizer alone."""
    tokenizer = bench.Tokenizer.from_file(str(bench.MODEL / "tokenizer.json"))
    return bench.Bench(CONFIG, tokenizer, None)  # type: ignore[arg-type]


def test_hidden_states_are_those_of_every_layer_at_the_last_token() -> None:
    params, lengths = random_params(1), (9, 5)
    tokens = np.random.default_rng(0).integers(0, CONFIG.vocab_size, (2, 9)).astype(np.int32)
    valid = np.arange(9) < np.array(lengths)[:, None]
    texts = Texts(jnp.asarray(tokens), jnp.asarray(valid), jnp.zeros((2, 9)))
    got = jax.jit(question_probe.hidden_states, static_argnums=0)(CONFIG, params, texts)
    for row, length in enumerate(lengths):
        seen = run(params, tokens[row, :length], causal(length))
        np.testing.assert_allclose(got[:, row], seen.layers[:, -1], atol=2e-3, rtol=2e-3)


def test_the_probe_minimizes_its_loss() -> None:
    rng = np.random.default_rng(0)
    x = np.pad(rng.standard_normal((80, 4)), ((0, 0), (0, 1)), constant_values=1)
    y = x @ [2, -1, 0, 0, 0.5] + rng.standard_normal(80) > 0

    def loss(w: np.ndarray) -> float:
        return np.log1p(np.exp(-np.where(y, 1, -1) * (x @ w))).sum() + 1.5 * w @ w

    best = question_probe.fit(x, y.astype(float), ridge=3.0)
    assert best[0] > 0.5
    assert all(loss(best) < loss(best + 0.01 * step) for step in rng.standard_normal((20, 5)))


def test_predictions_come_from_other_folds() -> None:
    """Labels that have nothing to do with the features are not predicted, however many features there are."""
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((100, 60)), rng.random(100) < 0.5
    z = np.pad(x, ((0, 0), (0, 1)), constant_values=1)
    assert question_probe.auc(z @ question_probe.fit(z, y.astype(float)), y) > 0.85
    assert 0.3 < question_probe.auc(question_probe.predictions(x, y, rng), y) < 0.7


def test_auc_counts_pairs() -> None:
    rng = np.random.default_rng(2)
    score, y = rng.integers(0, 5, 30).astype(float), rng.random(30) < 0.4
    pairs = [(a > b) + 0.5 * (a == b) for a in score[y] for b in score[~y]]
    assert question_probe.auc(score, y) == pytest.approx(np.mean(pairs))


def test_rescue_and_harm() -> None:
    alone, asked = np.array([0, 0, 0, 0, 1, 1], bool), np.array([1, 0, 0, 0, 0, 1], bool)
    assert question_probe.flips(alone, asked) == (0.25, 0.5)


@pytest.mark.parametrize(
    ("question", "answer"),
    [("Check 8*7?\n", "It is 8*7=6\n"), ("Check 0-2?\n", "It is 0-2=8\n"), ("Check 8*", "It cannot be read\n")],
)
def test_the_teacher_is_exact(question: str, answer: str) -> None:
    assert question_probe.teacher(question) == answer


def test_documents_ask_about_the_step_just_written_and_go_on_from_its_true_result(lab: bench.Bench) -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        chain = question_probe.train_chain(rng)
        _, ids, own = question_probe.document(lab, chain, question_probe.asking(rng, chain))
        written, _, rest = lab.tokenizer.decode(ids).partition("Check ")
        expression, answer, *lines = rest.removesuffix(bench.STOP).splitlines()
        assert written.splitlines()[-1].startswith(expression.removesuffix("?") + "=")
        told = lab.tokenizer.decode([i for i, mine in zip(ids, own, strict=True) if not mine])
        assert (
            told.removeprefix(question_probe.OPENING)
            == answer + "\n"
            == question_probe.teacher(f"Check {expression}\n")
        )
        result = answer[-1]
        assert lines[0].startswith(result if len(lines) > 1 else f"The answer is \\boxed{{{result}}}")


def test_every_second_document_asks(lab: bench.Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A student that had only seen solutions that ask would not know how to go on without."""
    monkeypatch.setattr(question_probe, "DOCUMENTS", 6)
    texts = question_probe.documents(lab, np.random.default_rng(4))
    asks = ["Check " in lab.tokenizer.decode(row.tolist()) for row in texts.tokens_BS]
    assert asks == [False, True] * 3
    own = np.asarray(texts.weights_BS).sum(axis=1)
    read = np.asarray(texts.valid_BS).sum(axis=1)
    assert (own > 0).all() and (own < read).all()


def test_outcomes_of_asking() -> None:
    """Four wrong, of which asking rescues one; two right, of which it harms one. The gate asks the first three."""
    alone, asked = np.array([0, 0, 0, 0, 1, 1], bool), np.array([1, 0, 0, 0, 0, 1], bool)
    gate = np.arange(6) < 3
    got = question_probe.outcomes(alone, asked, gate, np.random.default_rng(0))
    wanted = {"right, asking never": 2 / 6, "right, asking always": 2 / 6, "right, asking by the gate": 3 / 6}
    wanted |= {"asked by the gate": 0.5, "rescued of all": 1 / 6, "harmed of all": 1 / 6}
    assert {name: got[name] for name in wanted} == pytest.approx(wanted)

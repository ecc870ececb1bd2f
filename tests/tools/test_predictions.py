"""The page of predictions: its numbers by hand, its views' texts, and that it can be made again from what was kept."""

import json
from dataclasses import replace

import numpy as np
import pytest

from hsd_jax.data import chat_template, tiny
from hsd_jax.reporting.coverage import recoverable
from tests.support.paths import ROOT
from tools import prediction_numbers, prediction_page, prediction_runs, prediction_views
from tools.prediction_views import VIEWS, Credit, Group


def credit(question: int, right: bool, tau: int, values: list[float]) -> Credit:
    return Credit(question, 0, right, tau, np.array(values), np.abs(values))


def test_a_view_by_hand():
    rows = [credit(0, True, 2, [0.0, 0.1, -3.0, 1.0]), credit(0, False, -1, [-2.0, -2.0]), credit(1, False, 0, [4.0])]
    found = prediction_numbers.of_view(rows, 2)
    assert found["before"] == [0.05, None] and found["at"] == [3.0, 4.0] and found["near"] == [1.0, None]
    assert found["profile"][6] == 3.5 and found["profile"][5] == 0.1 and found["profile"][7] == 1.0
    assert found["auc"] == [1.0, None] and found["whole"] == [pytest.approx(1.5125), 4.0]


def test_length_is_taken_out_of_the_auc():
    rows = [credit(0, n % 2 == 0, 0, [-0.1 * n] * n) for n in range(2, 8)]
    assert prediction_numbers.of_view(rows, 1)["auc"] != prediction_numbers.of_view(rows, 1)["auc_length"]


def test_coverage_of_independent_rollouts_follows_the_formula():
    rng = np.random.default_rng(0)
    right = {str(n): (rng.random(64) < 0.3).tolist() for n in range(400)}
    for size, parts in prediction_numbers.coverage(right).items():
        for values in parts.values():
            assert np.mean(values) == pytest.approx(recoverable(0.3, int(size)), abs=0.015)


def test_intervals_do_not_depend_on_the_day():
    one = prediction_numbers.interval([0.0, 1.0, None, 0.5], "x")
    assert one == prediction_numbers.interval([0.0, 1.0, 0.5], "x") and one[1] < one[0] < one[2]


def group() -> Group:
    chain = tiny.Chain((7, 3, 2, 4), "+-*")
    texts = (tiny.solution(chain), tiny.solution(chain, (0, 1, 0)), tiny.solution(chain))
    return Group(tiny.question(chain), str(tiny.results(chain)[-1]), texts[0], texts, (True, False, True))


def test_views_read_what_they_say():
    one = group()
    other = replace(one, question="another")
    texts = {name: view(one, 0, [one, other]) for name, view in VIEWS.items()}
    assert texts["answer and correct peer (hsd)"] == {"answer": one.answer, "peer": one.texts[2]}
    assert texts["wrong peer, called correct"] == {"answer": one.answer, "peer": one.texts[1]}
    assert texts["last 2 results"] == {"answer": "8 2"}
    alone = replace(one, texts=one.texts[:1], right=one.right[:1])
    assert VIEWS["correct peer (sdpo)"](alone, 0, [alone]) is None
    assert VIEWS["another problem's peer, called this one's"](one, 0, [one]) is None


def test_the_students_own_context_gives_no_credit_and_a_peer_does():
    reader = prediction_views.open_reader(ROOT / prediction_views.MODEL)
    one = group()
    prompt = reader.tokenizer.decode(reader.before(one.question, {"answer": "", "peer": ""}))
    assert chat_template.PEER_OPEN + chat_template.PEER_CLOSE in prompt and "attempt ===\n7" not in prompt
    found = prediction_views.measure(reader, [one], ["answer and correct peer (hsd)", "the rollout itself"])
    wrong = found["answer and correct peer (hsd)"][1]
    assert wrong.divergence > 0 and abs(wrong.credit_T[wrong.divergence]) > 10 * abs(wrong.credit_T[0])
    rows = [(reader.before(one.question, {}), reader.ids(one.texts[0]))]
    same = [next(iter(reader.scores(rows))) for _ in range(2)]
    np.testing.assert_array_equal(*same)


def test_the_page_is_made_again_byte_for_byte():
    kept = json.loads((ROOT / "assets/predictions.json").read_text())
    assert prediction_page.page(kept) == (ROOT / "docs/predictions.md").read_text()


def test_cells_say_what_differs():
    assert prediction_runs.flags_of("hsd+wrong_peer+failed_only") == (
        *("--method.control", "wrong_peer"),
        *("--method.gate", "failed_only"),
    )
    assert prediction_runs.flags_of("hsd+shortest") == ("--method.peer-rule", "shortest")
    assert len(prediction_runs.tuning()) == 8 and len(set(prediction_runs.control_names())) == 23

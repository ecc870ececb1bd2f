"""The stream of problems: exact mixtures, the same global batches on any number of processes, exact resuming."""

import itertools

import pytest

from hsd_jax.data import batches
from hsd_jax.data.problems import Problem
from hsd_jax.errors import InputError

MATH = tuple(Problem(f"m{i}", "x", "math", f"q{i}", str(i)) for i in range(37))
CODE = tuple(Problem(f"c{i}", "x", "code", f"q{i}", "") for i in range(5))
BOTH, WEIGHTS = {"math": MATH, "code": CODE}, {"math": 4, "code": 1}


def ids(batch):
    return [problem.id for problem in batch]


def steps(problems_per_step=8, seed=3, **share):
    return batches.step_batches(BOTH, problems_per_step=problems_per_step, seed=seed, weights=WEIGHTS, **share)


@pytest.mark.parametrize("problems_per_step", [5, 8, 13])
def test_any_five_consecutive_questions_are_four_to_one(problems_per_step):
    rows = steps(problems_per_step)
    kinds = [problem.kind for step in range(60) for problem in rows[step]]
    for start in range(len(kinds) - 4):
        assert kinds[start : start + 5].count("code") == 1


def test_every_epoch_holds_every_question_once_in_another_order():
    rows = batches.step_batches({"math": MATH}, problems_per_step=37, seed=0, weights={"math": 1})
    epochs = [ids(rows[i]) for i in range(4)]
    assert all(sorted(epoch) == sorted(ids(MATH)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_question_that_a_step_asks_again_is_told_apart_on_any_number_of_processes(count):
    few = {"math": MATH[:6]}
    options = {"problems_per_step": 8, "seed": 0, "weights": {"math": 1}, "process_count": count}
    parts = [batches.step_batches(few, **options, process_index=k) for k in range(count)]
    for step in range(4):
        asked = [(problem.id, problem.repeat) for part in parts for problem in part[step]]
        assert len({*asked}) == 8 and sum(repeat for _, repeat in asked) >= 2


def test_the_seed_and_only_the_seed_changes_the_order():
    assert ids(steps(seed=3)[9]) == ids(steps(seed=3)[9])
    assert ids(steps(seed=3)[9]) != ids(steps(seed=4)[9])


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_processes_share_the_same_global_batches(count):
    whole = steps()
    parts = [steps(process_index=i, process_count=count) for i in range(count)]
    for step in range(12):
        together = itertools.chain.from_iterable(part[step] for part in parts)
        assert ids(together) == ids(whole[step])
        assert all(len(part[step]) == 8 // count for part in parts)


def test_resuming_after_any_step_goes_on_with_the_same_rows():
    whole, resumed = steps(), steps()
    expected = [ids(whole[step]) for step in range(25)]
    assert [ids(resumed[step]) for step in (20, 7, 1, 24)] == [expected[step] for step in (20, 7, 1, 24)]


def test_select_map_and_join_keep_order():
    picked = batches.select(MATH, [5, 2])
    joined = batches.join([picked, batches.map_problems(CODE, lambda p: Problem("x" + p.id, "x", "code", "q", ""))])
    assert [joined[i].id for i in range(len(joined))] == ["m5", "m2", *(f"xc{i}" for i in range(5))]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"problems": {"math": MATH}}, "mixture names"),
        ({"problems": {"math": MATH, "code": ()}}, "no problem of kind 'code'"),
        ({"weights": {"math": 4, "code": 0}}, "weight of 'code'"),
        ({"process_count": 3}, "8 problems per step"),
        ({"process_index": 1}, "process index"),
    ],
)
def test_what_cannot_be_streamed_is_refused(change, said):
    arguments = {"problems": BOTH, "weights": WEIGHTS, "problems_per_step": 8, "seed": 0} | change
    with pytest.raises(InputError, match=said):
        batches.step_batches(arguments.pop("problems"), **arguments)


def test_a_changed_order_is_not_resumed():
    settings = {"fingerprint": "f", "problems_per_step": 8, "seed": 0, "weights": WEIGHTS}
    saved = batches.identity(BOTH, **settings)
    batches.check_resume(saved, batches.identity(BOTH, **settings))
    for change in ({"fingerprint": "g"}, {"seed": 1}, {"problems_per_step": 4}):
        with pytest.raises(InputError, match="would change on resuming"):
            batches.check_resume(saved, batches.identity(BOTH, **settings | change))
    with pytest.raises(InputError, match="grain"):
        batches.check_resume(saved | {"grain": "0.0.1"}, saved)

"""The report survives any log: what cannot be read is left out, counted and shown on the page.

12 damaged workdirs by default; HSD_JAX_FUZZ_EXAMPLES=10000 runs the long campaign.
"""

import json
import os
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from hsd_jax.reporting import figures
from hsd_jax.reporting.logs import read_groups, read_run
from hsd_jax.reporting.page import render, summary
from tests.support.report_workdir import make_workdir

EXAMPLES = int(os.environ.get("HSD_JAX_FUZZ_EXAMPLES", "12"))
fuzz = settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)
HUGE = "<an integer beyond Python's limit>"
texts = st.text(max_size=6) | st.sampled_from(["\x1b[2J", "\ud800", "</script>", "1", "nan", "$x_", HUGE])
numbers = st.sampled_from(
    [0, -1, 2**63, -(2**63), 10**400, 1e300, -1e300, 3.4e38, 1e-320, 0.5, float("nan"), float("inf"), True]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
DEEP = "[" * 3000


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workdir(tmp_path_factory.mktemp("logs") / "run", steps=2, problems=1, group=3, length=9, every=4)


def harm(draw: Any, line: str) -> str:
    """A line of a log with some of its values replaced at any depth, or torn."""
    kind = draw(st.sampled_from(["values", "values", "values", "cut", "other"]))
    if kind == "cut" or line == "{}":
        return line[: draw(st.integers(0, len(line)))]
    if kind == "other":
        return draw(st.sampled_from([DEEP, "null", "[]", "3", "{}", '{"a":', "\0"]))
    found = json.loads(line)
    for _ in range(draw(st.integers(1, 3))):
        holder: Any = found
        while True:
            key = draw(st.sampled_from(sorted(holder) if isinstance(holder, dict) else range(len(holder))))
            if not isinstance(holder[key], dict | list) or not holder[key] or draw(st.booleans()):
                break
            holder = holder[key]
        replaced = holder[key]
        wrapped = [replaced] if not isinstance(replaced, list) else [[entry] for entry in replaced]
        holder[key] = draw(values | st.just(wrapped) | st.just(str(replaced)))
    return json.dumps(found).replace(json.dumps(HUGE), "9" * 5000)


@fuzz
@given(data=st.data())
def test_any_log_becomes_a_page_that_says_what_is_missing(whole: Path, data: Any):
    with tempfile.TemporaryDirectory() as folder:
        run = Path(shutil.copytree(whole, Path(folder) / "run"))
        files = sorted(run.rglob("*.json*"))
        for file in data.draw(st.lists(st.sampled_from(files), min_size=1, max_size=2, unique=True)):
            lines = file.read_text().splitlines()
            for index in data.draw(st.lists(st.sampled_from(range(len(lines))), min_size=1, max_size=3, unique=True)):
                if lines[index].startswith("{") and lines[index].endswith("}"):
                    lines[index] = harm(data.draw, lines[index])
            file.write_text("\n".join(lines) + "\n", "utf-8", "surrogatepass")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            main = render.load(run, texts=True)
            page = render.render(main, [render.load(whole, texts=False)], 10**6)
        assert page.startswith("<!doctype html>") or page.startswith("<!DOCTYPE html>")
        for note in summary.notes([main.run], len(main.groups), len(main.groups)):
            assert "left out" in note or "not recorded" in note


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda group: group["rollouts"][0].update(credit=[[1.0]] * 9), "per-token values that are no numbers"),
        (lambda group: group["rollouts"][0].update(kl=["1"] * 9), "per-token values that are no numbers"),
        (lambda group: group["rollouts"][0].update(kl=[10**400] * 9), "per-token values that are no numbers"),
        (lambda group: group["rollouts"][0].update(kl=[1.0]), "do not match the number of tokens"),
        (lambda group: group["rollouts"][0].update(peer=2**63), "peers outside the group"),
        (lambda group: group["rollouts"][0].update(peer="0"), "peers outside the group"),
        (lambda group: group.update(rollouts=3), "without a list of rollouts"),
        (lambda group: group.update(rollouts=[3]), "rollouts that are not objects"),
        (lambda group: group.update(question=["a"]), "texts that are none"),
    ],
)
def test_what_a_rollout_log_says_wrongly_is_counted(whole: Path, tmp_path: Path, change: Any, said: str):
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    file = sorted(run.glob("rollouts/*"))[0]
    group = json.loads(file.read_text().splitlines()[0])
    change(group)
    file.write_text(json.dumps(group) + "\n")
    found = read_run(run)
    list(read_groups(run, found.damage))
    assert [what for what, count in found.damage.items() if count and said in what]


@pytest.mark.parametrize("step", [2**63, -1, "3", None, 1.5, True, [1], 1e300])
def test_a_step_that_cannot_be_is_left_out_and_counted(whole: Path, tmp_path: Path, step: Any):
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": step, "reward": 1.0}) + "\n")
    found = read_run(run)
    assert len(found.metrics) == len(read_run(whole).metrics)
    assert found.damage["metrics.jsonl: records without a step that can be"] == 1


def test_metrics_that_are_no_numbers_are_left_out_and_counted(whole: Path, tmp_path: Path):
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    with (run / "metrics.jsonl").open("a") as file:
        odd = {"step": 99, "reward": "0.5", "loss": [[1]], "kl": {"a": 1}, "grad_norm": 10**400, "entropy": 1.0}
        odd |= {"coverage": [], "masked": [1, 2], "kl_by_position": 3.0}
        file.write(json.dumps(odd | {"skipped": None}) + "\n")
    found = read_run(run)
    assert found.metrics[-1] == {"step": 99, "entropy": 1.0, "skipped": None}
    assert found.damage["metrics.jsonl: values that are no numbers"] == 7
    data = figures.RunData("x", found.metrics, list(read_groups(run, found.damage)))
    assert figures.curves([data]) and figures.credit_figures([data])


def test_a_directory_where_a_file_should_be_is_counted(whole: Path, tmp_path: Path):
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    for name in ("metrics.jsonl", "config.json"):
        (run / name).unlink()
        (run / name).mkdir()
    (run / "rollouts" / "step-9.jsonl").mkdir()
    found = read_run(run)
    assert found.metrics == [] and found.config == {} and sum(found.damage.values()) == 2
    assert list(read_groups(run, found.damage))

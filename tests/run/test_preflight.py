"""The look ahead: what it concludes from given numbers, and one real look at the shipped tiny model."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hsd_jax import report
from hsd_jax.config import Config, Data, Method, Model, Sampling
from hsd_jax.errors import InputError
from hsd_jax.reporting import credit_profile, diagnostics
from hsd_jax.reporting.logs import Group, parse_group, read_groups, read_run
from hsd_jax.run import preflight
from hsd_jax.setup.build import build_components
from tests.support.paths import ROOT
from tests.support.report_workdir import problem

TINY = Config(
    model=Model(path=str(ROOT / "assets/tiny_qwen3"), compute_dtype="float32", remat="none"),
    data=Data(source="tiny", prompt_tokens=96, answer_tokens=32, context_tokens=320, min_peer_tokens=8),
    sampling=Sampling(group_size=4, top_p=1.0, response_tokens=64, chunk=32, dtype="float32"),
)
GOOD = {
    "step": 0, "reward": 0.3, "response_length": 50.0, "coverage": 0.8, "teacher_coherence": 0.9, "first_token_kl": 0.0,
    "credit_at_divergence": 2.0, "credit_before_divergence": 0.05, "truncated": 0.0, "masked": 0.0,
    "verdict/correct": 3, "verdict/wrong": 7,
}  # fmt: skip


def groups_at(rate: float) -> list[Group]:
    rng = np.random.default_rng(0)
    lines = [problem(0, i, 8, 30, 0.5, rng) for i in range(20)]
    for line in lines:
        for rollout in line["rollouts"]:
            rollout["reward"] = int(rng.random() < rate)
    return [group for group in (parse_group(line, Counter()) for line in lines) if group is not None]


@pytest.mark.parametrize(
    ("change", "rate", "outlook", "word"),
    [
        ({}, 0.3, "can help", "passes every check"),
        ({"teacher_coherence": 0.5}, 0.3, "may help", "teacher coherence"),
        ({"first_token_kl": 3.0}, 0.3, "cannot help as configured", "first-token agreement"),
        ({"coverage": 0.0}, 0.0, "cannot help as configured", "no group has a success"),
        ({"coverage": 1.0}, 1.0, "cannot help as configured", "already succeeds"),
    ],
)
def test_outlook(change: dict, rate: float, outlook: str, word: str) -> None:
    found = preflight.judge(GOOD | change, groups_at(rate), [])
    assert found.outlook == outlook and word in found.reason
    text = preflight.as_text(found)
    assert outlook in text and "G = 8" in text
    assert all(finding.advice in text for finding in found.findings if finding.level in ("watch", "act"))


def test_small_batch_fits_the_devices_and_takes_as_little_memory_as_possible() -> None:
    narrow = preflight.narrowed(TINY, 11)
    # Eight virtual devices (conftest): two rounds of one problem on each.
    assert (narrow.data.problems_per_step, narrow.optimizer.micro_batches) == (16, 2)
    with pytest.raises(InputError, match="--problems"):
        preflight.narrowed(TINY, 0)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"before_you_train": True}, "needs --config"),
        ({"before_you_train": True, "config": str(ROOT / "configs/none.py")}, "configs/none.py"),
        ({"before_you_train": True, "config": str(ROOT / "configs/tiny.py"), "workdir": str(ROOT)}, "not empty"),
    ],
)
def test_refuses_before_anything_compiles(arguments: dict, word: str) -> None:
    with pytest.raises(InputError, match=word):
        report.run_preflight(report.Arguments(**arguments))


def test_refuses_methods_without_a_peer() -> None:
    with pytest.raises(InputError, match="grpo"):
        preflight.preflight(replace(TINY, method=Method(name="grpo")), 8, build_components)


def test_a_real_look_agrees_with_its_own_rollout_log(tmp_path: Path) -> None:
    found = preflight.preflight(TINY, 8, build_components)
    preflight.write(found, tmp_path, TINY)
    assert found.metrics["step"] == 0 and "time/sample" in found.metrics
    metrics = read_run(tmp_path).metrics[0]
    groups = list(read_groups(tmp_path, Counter()))
    rollouts = diagnostics.rollouts_of(groups)
    assert len(groups) == 8 and len(rollouts) == 32
    assert metrics["reward"] == pytest.approx(np.mean([rollout.reward for rollout in rollouts]))
    assert metrics["coverage"] == pytest.approx(preflight.observed(groups, 4).has_peer)
    # The log rounds to 4 digits; the device and the report compute these independently.
    assert metrics["credit_mass_8"] == pytest.approx(diagnostics.cumulative_mass(rollouts, (8,)).mean[0], abs=2e-3)
    at = credit_profile.offset_profile(rollouts, (0, 0)).mean[0]
    assert metrics["credit_at_divergence"] == pytest.approx(np.nan_to_num(at), abs=1e-3)
    shift = np.nan_to_num(diagnostics.shift_by_position(rollouts).mean)
    np.testing.assert_allclose(metrics["kl_by_position"], shift, atol=1e-3)
    assert json.loads((tmp_path / "config.json").read_text())["config"]["sampling"]["group_size"] == 4
    for rollout in rollouts:
        assert len(rollout.credit) == len(rollout.tokens) and np.isfinite(rollout.credit).all()
    with pytest.raises(InputError, match="not empty"):
        preflight.check_free(tmp_path)

"""The paper's ablations: each config differs from its base in what its name says, and is a valid run."""

import dataclasses
from typing import Any

import pytest

from hsd_jax import config
from hsd_jax.config import Config
from hsd_jax.methods import METHODS
from hsd_jax.methods.paper import PAPER
from hsd_jax.runtime.workdir import flat
from hsd_jax.setup import method_overrides, validation
from tests.support.paths import ROOT

CONFIGS = ROOT / "configs"
BASE = config.load(CONFIGS / "hsd_qwen3_8b_v6e64.py")
CHIPS, CHIPS_OF_A_HOST = 64, 4

WANTED: dict[str, dict[str, Any]] = {
    **{f"peer_rule_{rule}": {"method.peer_rule": rule} for rule in ("shortest", "low_perplexity", "high_perplexity")},
    **{f"beta_{beta}": {"method.beta": float(beta)} for beta in ("0", "1e-4", "1e-2", "1e-1")},
    **{f"temperature_{value}": {"sampling.temperature": value} for value in (0.6, 1.2)},
    **{f"hybrid_{share}": {"method.name": "grpo_opsd", "method.coefficient": share} for share in (0.25, 0.5, 0.75)},
    "no_fallback": {"method.fallback": False},
    "group_size_4": {"sampling.group_size": 4},
    **{
        f"group_size_{group}": {
            **{"sampling.group_size": group, "sampling.slots": 64},
            **{"mesh.tensor": group // 8, "optimizer.micro_batches": group // 4},
        }
        for group in (16, 32)
    },
}


def load(name: str) -> Config:
    return config.load(CONFIGS / "ablations" / f"{name}.py")


def test_every_ablation_of_the_paper_has_a_config() -> None:
    assert {path.stem for path in (CONFIGS / "ablations").glob("*.py")} == set(WANTED)


@pytest.mark.parametrize("name", WANTED)
def test_an_ablation_changes_what_it_says(name: str, caplog: pytest.LogCaptureFixture) -> None:
    here, base = (flat(dataclasses.asdict(one)) for one in (load(name), BASE))
    assert {key: here[key] for key in here if here[key] != base[key]} == WANTED[name]
    caplog.clear()
    method_overrides.resolve(load(name).method)
    assert "no effect" not in caplog.text


@pytest.mark.parametrize("name", WANTED)
def test_an_ablation_is_a_valid_run_on_its_chips(name: str) -> None:
    settings = load(name)
    method = method_overrides.resolve(settings.method)
    validation.check(settings, method, processes=CHIPS // CHIPS_OF_A_HOST)
    part = settings.data.problems_per_step // settings.optimizer.micro_batches
    assert part % (CHIPS // settings.mesh.tensor) == 0
    rollouts_of_a_chip = part * settings.sampling.group_size // CHIPS
    assert rollouts_of_a_chip <= BASE.data.problems_per_step // 2 * BASE.sampling.group_size // CHIPS


def test_every_method_from_outside_the_paper_has_a_config() -> None:
    """Each is a valid run of its row, with room for what it reads."""
    files = {path.stem: path for path in (CONFIGS / "methods").glob("*.py")}
    assert set(files) == set(METHODS) - set(PAPER)
    for name, path in files.items():
        settings = config.load(path)
        method = method_overrides.resolve(settings.method)
        assert method == METHODS[name]
        validation.check(settings, method, processes=CHIPS // CHIPS_OF_A_HOST)
        room = (settings.data.context_tokens, settings.data.rubric_tokens + settings.data.solution_tokens)
        assert room[0] - room[1] >= BASE.data.context_tokens


def test_docs_name_every_ablation() -> None:
    text = (CONFIGS.parent / "docs" / "methods.md").read_text()
    assert not [name for name in WANTED if f"`{name}`" not in text]


@pytest.mark.parametrize("file", sorted(CONFIGS.rglob("*.py")), ids=lambda file: file.stem)
def test_shipped_configs_train_on_prepared_data(file: Any) -> None:
    """Raw corpora hold questions of evaluation sets; the tiny model's and the short sums are generated apart."""
    generated = {"tiny": "tiny", "smollm2_sums": "jsonl"}
    assert config.load(file).data.source == generated.get(file.stem, "prepared")

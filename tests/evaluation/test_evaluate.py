"""The evaluation command: refused input, resuming, equal seeds, Hugging Face directories and checkpoints alike."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import jax
import pytest

from hsd_jax import evaluate
from hsd_jax.errors import InputError
from hsd_jax.evaluation import runner, settings
from hsd_jax.evaluation.benchmarks import open_benchmark
from hsd_jax.runtime import checkpoint
from hsd_jax.sampler.decode_sharding import decode_mesh
from hsd_jax.setup import sampling
from models import hf
from models.qwen3 import Qwen3, Qwen3Config, init_params
from tests.support import corpora
from tests.support.paths import TINY_MODEL

CONFIG = {
    "model_type": "qwen3",
    "architectures": ["Qwen3ForCausalLM"],
    "vocab_size": 512,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "rope_theta": 10000.0,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": True,
    "max_position_embeddings": 256,
    "hidden_act": "silu",
    "attention_bias": False,
}
WINDOWS = "--prompt-tokens 96 --response-tokens 16 --code-response-tokens 16"
FLAGS = WINDOWS + " --samples 4 --slots 8 --chunk 16 --dtype float32"
ROWS = [{"id": f"q{i}", "question": f"{i}+1?", "answer": str(i + 1), "difficulty": i / 4} for i in range(5)]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    directory = tmp_path_factory.mktemp("hf") / "model"
    directory.mkdir()
    for file in TINY_MODEL.glob("*token*"):
        shutil.copy(file, directory)
    shutil.copy(TINY_MODEL / "chat_template.jinja", directory)
    (directory / "config.json").write_text(json.dumps(CONFIG))
    config = Qwen3Config.from_hf(CONFIG)
    params = init_params(config, jax.random.key(0))
    hf.save(Qwen3(config, params, source=str(directory)), directory)
    return directory


@pytest.fixture
def here(tmp_path, monkeypatch):
    one = decode_mesh(devices=jax.local_devices()[:1])  # compiling for eight devices would take most of the time
    monkeypatch.setattr(sampling, "decode_mesh", lambda tensor, devices: one)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HSD_JAX_DATA", str(tmp_path / "cache"))
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return tmp_path


def run(model, out, *more):
    arguments = ["--checkpoint", str(model), "--benchmark", "own.jsonl", "--out", str(out), *FLAGS.split(), *more]
    assert evaluate.main(arguments) == 0
    return json.loads((Path(out) / "result.json").read_text())


def same_answers(first, second):
    strip = ("seconds_of_this_call", "settings")
    return {k: v for k, v in first.items() if k not in strip} == {k: v for k, v in second.items() if k not in strip}


def test_equal_seeds_give_equal_results_however_the_work_is_cut(model, here):
    whole = run(model, "a", "--batch", "5")
    parts = run(model, "b", "--batch", "2")
    assert same_answers(whole, parts)
    assert [one["id"] for one in whole["problems"]] == [row["id"] for row in ROWS]
    assert all(len(one["rewards"]) == 4 for one in whole["problems"])
    assert set(whole["metrics"]) == {"mean@4", "pass@1", "pass@2", "pass@4", "maj@2", "maj@4"}
    assert whole["settings"]["temperature"] == 1.0 and whole["settings"]["benchmark"] == "own"
    assert sum(whole["counts"].values()) == 20 and whole["lengths"]["response_tokens"] <= 20 * 16
    assert sum(row["problems"] for row in whole["difficulty"].values()) == 5
    other = run(model, "c", "--batch", "5", "--seed", "1")
    assert [one["lengths"] for one in other["problems"]] != [one["lengths"] for one in whole["problems"]] or [
        one["extracted"] for one in other["problems"]
    ] != [one["extracted"] for one in whole["problems"]]
    assert jax.config.values["jax_compilation_cache_dir"] == os.environ["JAX_COMPILATION_CACHE_DIR"], (
        "programs are kept"
    )


def asking(**changes):
    return settings.EvalConfig(checkpoint="x", **changes)


SHAPES = [{"batch": 4}, {"slots": 8}, {"chunk": 32}, {"tensor": 2}]


@pytest.mark.parametrize("changes", SHAPES, ids=lambda changes: next(iter(changes)))
def test_shapes_are_among_the_decisive_settings_in_bfloat16_alone(changes):
    low, exact = asking(dtype="bfloat16"), asking(dtype="float32")
    assert settings.decisive(low) != settings.decisive(replace(low, **changes))
    assert settings.decisive(exact) == settings.decisive(replace(exact, **changes))


def test_devices_are_decisive_in_bfloat16_and_the_number_format_is_always(monkeypatch):
    before = settings.decisive(asking()), settings.decisive(asking(dtype="float32"))
    assert before[0] != before[1]
    monkeypatch.setattr(jax, "device_count", lambda: 3)
    assert settings.decisive(asking()) != before[0] and settings.decisive(asking(dtype="float32")) == before[1]


def test_exact_fixes_format_and_shapes_and_refuses_others():
    found = settings.settled(asking(exact=True))
    assert {name: getattr(found, name) for name in settings.EXACT} == settings.EXACT and found.dtype == "float32"
    assert settings.settled(asking(batch=3)) == asking(batch=3)
    for changes in ({"batch": 3}, {"slots": 7}, {"chunk": 8}):
        with pytest.raises(InputError, match=f"--exact: it fixes --{next(iter(changes))} at"):
            settings.check(asking(exact=True, **changes))


def test_float32_products_are_not_rounded_while_asking(here, monkeypatch):
    seen = []

    def ask(*_, **__):
        seen.append(jax.config.jax_default_matmul_precision)
        return iter(())

    monkeypatch.setattr(runner, "answer_all", ask)
    for dtype in ("float32", "bfloat16"):
        runner.ask_and_save(None, [], asking(dtype=dtype), None, here / "none")  # type: ignore[arg-type]
    assert seen == ["highest", None]


def test_an_interrupted_evaluation_asks_only_what_is_missing(model, here, monkeypatch):
    whole = run(model, "a", "--batch", "5")
    lines = (here / "a" / "answers.jsonl").read_text().splitlines(keepends=True)
    (here / "a" / "answers.jsonl").write_text("".join(lines[:3]) + lines[3][:40])
    asked = []
    answer = runner.answer

    def counted(model, problems, **rest):
        asked.extend(problem.id for problem in problems)
        return answer(model, problems, **rest)

    monkeypatch.setattr(runner, "answer", counted)
    assert same_answers(run(model, "a", "--batch", "1"), whole)
    assert asked == ["q3", "q4"]
    with pytest.raises(InputError, match="temperature = 1.0, not 0.5"):
        run(model, "a", "--temperature", "0.5")


def test_a_checkpoint_and_a_directory_of_the_same_weights_answer_alike(model, here):
    config = Qwen3Config.from_hf(CONFIG)
    store = checkpoint.open_store(here / "run" / "checkpoints")
    meta = {"model": vars(config), "config": {"model": {"path": str(model)}}, "step": 3}
    checkpoint.save(store, 3, {"params": hf.load_params(model, config)}, meta, score=0.5)
    checkpoint.close(store)
    assert same_answers(run(here / "run", "a"), run(model, "b"))


@pytest.mark.sandbox
def test_programs_are_graded_by_all_tests_and_have_no_majority(model, here):
    rows = [{"question": "Echo.", "tests": [{"input": "a", "output": "a"}], "solution": "print(input())"}]
    (here / "own.jsonl").write_text("".join(json.dumps(row | {"id": f"c{i}"}) + "\n" for i, row in enumerate(rows * 3)))
    found = run(model, "code")
    assert set(found["metrics"]) == {"mean@4", "pass@1", "pass@2", "pass@4"}
    assert sum(found["counts"].values()) == 12 and found["metrics"]["pass@1"]["value"] == 0


@pytest.mark.parametrize("name", ["math500", "aime24", "humaneval_plus", "gsm8k", "tiny"])
def test_named_benchmarks_are_found_where_fetch_puts_them(name, here):
    if name in corpora.WRITERS:
        corpora.WRITERS[name](here / "cache" / "raw" / name)
    found = open_benchmark(name, first=2)
    assert found.name == name and len(found.problems) == 2 and all(p.source == name for p in found.problems)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--samples", "0"], "--samples must be at least 1"),
        (["--temperature", "0"], "is greedy"),
        (["--temperature", "-1"], "temperature must be"),
        (["--top-p", "0"], "top_p must be"),
        (["--problems", "-1"], "--problems must be"),
        (["--benchmark", "mth500"], "did you mean 'math500'"),
        (["--benchmark", "x" * 300], "--benchmark xxx"),
        (["--seed", "-1"], "--seed must be from 0"),
        (["--top-k", "9" * 20], "top_k must be"),
        (["--verifier-seconds", "nan"], "--verifier-seconds must be from"),
        (["--benchmark", "a\nb"], "control characters"),
        (["--benchmark", "math500"], "prepare fetch --source math500"),
        (["--checkpoint", "nowhere"], "nowhere does not exist"),
        (["--response-tokens", "4096"], "256 positions"),
        (["--prompt-tokens", "20"], "no problem of own fits"),
        (["--sampels", "3"], "--samples"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(model, here, more, said):
    with pytest.raises(InputError, match=said):
        run(model, "out", *more)
    assert not (here / "out").exists()

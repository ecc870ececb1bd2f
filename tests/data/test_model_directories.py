"""Tokenizers and chat templates of strangers: nothing of them is run unguarded, and each fault is one line."""

import json
import shutil
from pathlib import Path

import pytest

from hsd_jax.config import Config, Model
from hsd_jax.data import chat_template, render_chat
from hsd_jax.errors import InputError
from hsd_jax.setup.tokenizer import end_ids, load_tokenization, read_tokenizer
from models.config import Qwen3Config
from tests.support.paths import TINY_MODEL

USER = "{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}"
PROMPT = "{% if add_generation_prompt %}<|im_start|>assistant{% endif %}"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TINY_MODEL, tmp_path / "model", ignore=shutil.ignore_patterns("*.safetensors")))


def change(file: Path, **fields: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def refused(read, *given) -> str:
    with pytest.raises(InputError) as error:
        read(*given)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer_config.json", "generation_config.json", "processor_config.json"]
)
def test_code_of_a_directory_is_refused_by_name_and_never_run(directory: Path, name: str):
    (directory / "evil.py").write_text(f"open({str(directory / 'ran')!r}, 'w')\nclass Tokenizer: pass\n")
    if not (directory / name).exists():
        (directory / name).write_text("{}")
    change(directory / name, auto_map={"AutoTokenizer": ["evil.Tokenizer", None]}, tokenizer_class="Tokenizer")
    said = refused(read_tokenizer, str(directory))
    assert f"{name}: auto_map = " in said and "evil.Tokenizer" in said
    assert not (directory / "ran").exists()


def test_a_tokenizer_is_never_read_with_trust(directory: Path, monkeypatch: pytest.MonkeyPatch):
    from transformers import AutoTokenizer

    asked = []
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda path, **options: asked.append(options) or 1 / 0)
    refused(read_tokenizer, str(directory))
    assert [options["trust_remote_code"] for options in asked] == [False]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tokenizer.json", "{}"),
        ("tokenizer.json", "[1]"),
        ("tokenizer.json", '{"model": {"type": "BPE", "vocab": 3}}'),
        ("tokenizer_config.json", "[]"),
        ("tokenizer_config.json", "[" * 10**5),
        ("tokenizer_config.json", '{"added_tokens_decoder": 7}'),
        ("tokenizer_config.json", '{"model_max_length": "many"}'),
        ("tokenizer_config.json", '{"eos_token": {"a": 1}}'),
        ("config.json", "\udcff"),
    ],
)
def test_files_of_a_tokenizer_that_make_no_sense_are_refused(directory: Path, name: str, content: str):
    (directory / name).write_text(content, "utf-8", "surrogateescape")
    assert str(directory) in refused(read_tokenizer, str(directory))


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{% for m in messages %}", "has a syntax error in line 1"),
        ("{{ messages[0].content }}{% if %}", "has a syntax error"),
        (USER, "ignores the generation prompt"),
        (USER + "<|im_start|>assistant", "ignores the generation prompt"),
        (PROMPT, "shows the user's text 0 times"),
        (USER + USER + PROMPT, "shows the user's text 2 times"),
        ("{{ messages[0].content | upper }}" + PROMPT, "shows the user's text 0 times"),
        (USER + PROMPT + "{{ messages[0].content | length }}", "depends on the user's text"),
        (USER + PROMPT + "{{ '\\ud800' }}", "surrogates not allowed"),
        ("{{ 'a' * 10**10 }}", "GiB"),
        ("{{ messages[0].content.__class__.__mro__ }}", "unsafe"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "RecursionError"),
        ("{{ raise_exception('no\nway') }}", "no"),
        ("{{ 'ab' * 10**6 }}" + USER + PROMPT, "renders more than"),
    ],
)
def test_chat_templates_that_cannot_be_used_are_refused(directory: Path, template: str, said: str):
    (directory / "chat_template.jinja").write_text(template)
    assert said in refused(chat_template.load_chat_template, read_tokenizer(str(directory)))


def test_an_endless_template_is_refused(directory: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(chat_template, "WALL_SECONDS", 2)
    endless = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    (directory / "chat_template.jinja").write_text(endless)
    assert "does not come to an end" in refused(chat_template.load_chat_template, read_tokenizer(str(directory)))
    assert render_chat.CPU_SECONDS < 60


def test_several_templates_without_a_default_and_none_are_refused(directory: Path):
    tokenizer = read_tokenizer(str(directory))
    tokenizer.chat_template = {"tool_use": USER}
    assert "no default chat template" in refused(chat_template.load_chat_template, tokenizer)
    tokenizer.chat_template = None
    assert "no chat template" in refused(chat_template.load_chat_template, tokenizer)


def test_a_template_renders_as_in_transformers():
    tokenizer = read_tokenizer(str(TINY_MODEL))
    for thinking in (False, True):
        frame = chat_template.load_chat_template(tokenizer, thinking=thinking)
        wanted = tokenizer.apply_chat_template(
            [{"role": "user", "content": "Why?"}], tokenize=False, add_generation_prompt=True, enable_thinking=thinking
        )
        assert f"{frame.opening}Why?{frame.closing}" == wanted


@pytest.mark.parametrize(
    ("ending", "thinking", "said"),
    [
        ("<think>\n", False, "model.thinking False has no effect: the chat template always opens"),
        ("<think>\n", True, ""),
        ("", True, "model.thinking True has no effect: the chat template never opens"),
        ("", False, ""),
        ("{% if enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}", True, ""),
    ],
)
def test_a_template_that_does_not_think_as_asked_is_said(
    directory: Path, caplog, ending: str, thinking: bool, said: str
):
    prompt = "{% if add_generation_prompt %}<|im_start|>assistant\n" + ending + "{% endif %}"
    (directory / "chat_template.jinja").write_text(USER + prompt)
    chat_template.load_chat_template(read_tokenizer(str(directory)), thinking=thinking)
    assert said in caplog.text and bool(said) == bool(caplog.text)


def test_ids_beyond_the_model_are_refused_however_few_there_are(directory: Path):
    file = directory / "tokenizer.json"
    found = json.loads(file.read_text())
    found["model"]["vocab"][min(found["model"]["vocab"], key=found["model"]["vocab"].get)] = 99_999
    file.write_text(json.dumps(found))
    config = Config(model=Model(path=str(directory)))
    assert "ids up to 99999 but the model 512" in refused(load_tokenization, config, Qwen3Config.from_hf(directory))


def test_stop_ids_come_from_tokenizer_and_generation_config_together(directory: Path):
    tokenizer = read_tokenizer(str(directory))
    end, text = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    assert end_ids(str(directory), tokenizer) == (tuple(sorted((end, text))), text)
    change(directory / "generation_config.json", eos_token_id=[0, end])
    assert end_ids(str(directory), tokenizer)[0] == tuple(sorted((0, end, text)))
    change(directory / "generation_config.json", eos_token_id=5)
    assert 5 in end_ids(str(directory), tokenizer)[0]
    tokenizer.pad_token = None
    change(directory / "generation_config.json", eos_token_id=None, pad_token_id=7)
    assert end_ids(str(directory), tokenizer)[1] == 7
    (directory / "generation_config.json").unlink()
    assert end_ids(str(directory), tokenizer)[1] == min(end, text)
    for bad in (10**9, -1, [2, "x"], "7", [[1]], 1.0, True):
        (directory / "generation_config.json").write_text(json.dumps({"eos_token_id": bad}))
        assert "generation_config.json: eos_token_id = " in refused(end_ids, str(directory), tokenizer)

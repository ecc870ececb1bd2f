"""The shipped tiny model: its files load everywhere a Qwen3 loads, and agree with our own forward pass."""

import json

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoTokenizer

from models import qwen3
from tests.support.paths import TINY_MODEL

ADDED_BY_QWEN3 = 26


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(TINY_MODEL)


@pytest.fixture(scope="module")
def tensors():
    return load_file(TINY_MODEL / "model.safetensors")


def test_the_directory_is_small():
    assert sum(file.stat().st_size for file in TINY_MODEL.rglob("*")) <= 3 * 2**20


@pytest.mark.parametrize(
    "text",
    ["7+3-2*9=0\n", "Der Bär läuft.\r\n\n  x", "日本 😀", "It's \\boxed{-12}.", "<|im_start|>user\nhi<|im_end|>"],
)
def test_text_survives_the_round_trip(tokenizer, text):
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert tokenizer.decode(ids) == text
    assert ids == Tokenizer.from_file(str(TINY_MODEL / "tokenizer.json")).encode(text).ids


def test_special_tokens_follow_the_ordinary_ones_in_the_order_of_qwen3(tokenizer):
    names = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>"]
    first, last = len(tokenizer) - ADDED_BY_QWEN3, len(tokenizer) - 1
    assert tokenizer.convert_tokens_to_ids(names) == [first, first + 1, first + 2, last - 1, last]
    assert (tokenizer.pad_token, tokenizer.eos_token) == ("<|endoftext|>", "<|im_end|>")
    decoded = tokenizer.decode(tokenizer.convert_tokens_to_ids(names), skip_special_tokens=True)
    assert decoded == "<think></think>"


def test_the_chat_template_opens_a_turn_with_or_without_thinking(tokenizer):
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+2?"}]

    def render(**options):
        return tokenizer.apply_chat_template(messages, tokenize=False, **options)

    turns = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n2+2?<|im_end|>\n"
    start = "<|im_start|>assistant\n"
    assert render(add_generation_prompt=False) == turns
    assert render(add_generation_prompt=True) == turns + start
    assert render(add_generation_prompt=True, enable_thinking=True) == turns + start
    empty = start + "<think>\n\n</think>\n\n"
    assert render(add_generation_prompt=True, enable_thinking=False) == turns + empty


def test_config_is_a_qwen3_and_matches_tokenizer_and_stop_ids(tokenizer):
    config = qwen3.Qwen3Config.from_hf(TINY_MODEL)
    theirs = AutoConfig.from_pretrained(TINY_MODEL)
    assert (theirs.model_type, theirs.head_dim) == ("qwen3", config.head_dim)
    assert config.vocab_size == len(tokenizer) and config.tied
    stops = json.loads((TINY_MODEL / "generation_config.json").read_text())["eos_token_id"]
    assert stops == tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])


def test_tensor_names_and_shapes_are_those_of_qwen3(tensors):
    config = qwen3.Qwen3Config.from_hf(TINY_MODEL)
    d, f, h = config.width, config.mlp_width, config.head_dim
    expected = {"model.embed_tokens.weight": (config.vocab_size, d), "model.norm.weight": (d,)}
    for index in range(config.layers):
        block = {
            "self_attn.q_proj": (config.heads * h, d),
            "self_attn.k_proj": (config.kv_heads * h, d),
            "self_attn.v_proj": (config.kv_heads * h, d),
            "self_attn.o_proj": (d, config.heads * h),
            "self_attn.q_norm": (h,),
            "self_attn.k_norm": (h,),
            "mlp.gate_proj": (f, d),
            "mlp.up_proj": (f, d),
            "mlp.down_proj": (d, f),
            "input_layernorm": (d,),
            "post_attention_layernorm": (d,),
        }
        expected |= {f"model.layers.{index}.{name}.weight": shape for name, shape in block.items()}
    assert {name: value.shape for name, value in tensors.items()} == expected
    assert all(np.isfinite(value).all() for value in tensors.values())


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
def test_transformers_computes_the_same_logits(tokenizer):
    torch = pytest.importorskip("torch", reason="torch is a test-only dependency")
    hf = pytest.importorskip("models.hf", reason="models.hf loads the weights into our model")
    from transformers import Qwen3ForCausalLM

    text = "<|im_start|>user\nEvaluate from left to right, modulo 10: 7+3-2*9\n\n"
    ids = np.asarray([tokenizer.encode(text, add_special_tokens=False)], np.int32)
    ours = jax.device_get(hf.load(TINY_MODEL)(ids))
    theirs = Qwen3ForCausalLM.from_pretrained(TINY_MODEL, dtype=torch.float32)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(ids).long()).logits.numpy()
    np.testing.assert_allclose(ours, expected, atol=2e-4)

"""Reading config.json: nothing assumed, everything unsupported refused by name, in one line."""

import pytest

from hsd_jax.errors import InputError
from models.config import Qwen3Config
from tests.support.random_qwen3 import FAMILY_CASES, LLAMA3, hf_config


def test_every_field_is_read_from_the_file():
    config = Qwen3Config.from_hf(hf_config(head_dim=20, rope_theta=5e6, rms_norm_eps=1e-5, tie_word_embeddings=True))
    assert config == Qwen3Config(
        vocab_size=97,
        width=32,
        mlp_width=48,
        layers=2,
        heads=4,
        kv_heads=2,
        head_dim=20,
        rope_theta=5e6,
        norm_eps=1e-5,
        tied=True,
        max_positions=512,
    )


def test_both_spellings_of_rope_theta():
    newer = hf_config(rope_parameters={"rope_theta": 5e6, "rope_type": "default"})
    del newer["rope_theta"]
    assert Qwen3Config.from_hf(newer).rope_theta == 5e6
    assert Qwen3Config.from_hf(hf_config(rope_theta=10000)).rope_theta == 1e4


def test_to_hf_is_read_back_as_the_same_config():
    config = Qwen3Config.from_hf(hf_config(head_dim=20, rope_theta=1e4))
    assert Qwen3Config.from_hf(config.to_hf()) == config


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model_type": "qwen3_moe"}, "model_type = 'qwen3_moe'"),
        ({"model_type": "llama"}, "architectures = ['Qwen3ForCausalLM'], expected null or [\"LlamaForCausalLM\"]"),
        ({"model_type": "mistral"}, "model_type = 'mistral', expected 'qwen3' or 'qwen2' or 'llama' (dense)"),
        ({"architectures": ["Qwen3MoeForCausalLM"]}, "architectures = ['Qwen3MoeForCausalLM']"),
        ({"num_experts": 8}, "num_experts = 8"),
        ({"attention_bias": True}, "attention_bias = True"),
        ({"use_sliding_window": True}, "use_sliding_window = True"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "layer_types"),
        ({"hidden_act": "gelu"}, "hidden_act = 'gelu'"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "rope_scaling = {'rope_type': 'yarn'"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_scaling"),
        ({"rope_parameters": {"rope_theta": 1e6, "rope_type": "dynamic"}}, "rope_parameters"),
        ({"rope_parameters": {"full_attention": {"rope_theta": 1e6, "rope_type": "default"}}}, "rope_parameters"),
        ({"rope_scaling": {"factor": 4.0}}, "rope_scaling"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"head_dim": 15}, "head_dim = 15 is odd"),
        ({"num_key_value_heads": 3}, "num_attention_heads = 4 is not a multiple of num_key_value_heads = 3"),
        ({"hidden_size": "32"}, "hidden_size = '32', expected a positive integer"),
        ({"rope_theta": None}, "rope_theta = None"),
        ({"rope_theta": True}, "rope_theta = True"),
        ({"rope_theta": float("nan")}, "rope_theta = nan"),
        ({"rope_theta": 10**400}, "rope_theta = 1000"),
        ({"rope_parameters": {"rope_theta": 5e6}}, "rope_theta is given twice: rope_parameters.rope_theta = 5000000.0"),
        ({"rope_parameters": {"rope_theta": [1]}}, "rope_parameters.rope_theta = [1]"),
        ({"rope_parameters": [1e6]}, "rope_parameters = [1000000.0]"),
        ({"rope_scaling": 3}, "rope_scaling = 3"),
        ({"rope_scaling": {"rope_type": ["default"]}}, "rope_scaling"),
        ({"rope_scaling": {"partial_rotary_factor": "1"}}, "rope_scaling"),
        ({"layer_types": 7}, "layer_types = 7"),
        ({"layer_types": [["full_attention"]]}, "layer_types"),
        ({"layer_types": ["full_attention"] * 3}, "layer_types has 3 entries for num_hidden_layers = 2"),
        ({"num_hidden_layers": 10**12}, "num_hidden_layers = 1000000000000, expected a positive integer up to 4,096"),
        ({"vocab_size": 1 << 40}, "vocab_size"),
        ({"head_dim": True}, "head_dim = True"),
        ({"rms_norm_eps": float("inf")}, "rms_norm_eps = inf"),
        ({"model_type": {"a": "qwen3"}}, "model_type"),
        ({"auto_map": {"AutoConfig": "evil.Config"}}, "auto_map = {'AutoConfig': 'evil.Config'}"),
        ({"dtype": ["float32"]}, "dtype = ['float32']"),
        ({"hidden_act": "\x1b[31m" * 99}, r"hidden_act = '\x1b[31m"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(change: dict, named: str):
    with pytest.raises(InputError) as error:
        Qwen3Config.from_hf(hf_config(**change))
    assert named in str(error.value)
    assert "\n" not in str(error.value)


def test_all_faults_are_told_at_once(tmp_path):
    raw = hf_config(attention_bias=True, hidden_act="gelu")
    del raw["head_dim"]
    with pytest.raises(InputError, match=r"attention_bias.*hidden_act.*head_dim is missing"):
        Qwen3Config.from_hf(raw)
    with pytest.raises(InputError, match="config.json"):
        Qwen3Config.from_hf(tmp_path)
    (tmp_path / "config.json").write_text("{broken")
    with pytest.raises(InputError, match="not valid JSON"):
        Qwen3Config.from_hf(tmp_path)


def test_other_families_are_read_and_written():
    llama = Qwen3Config.from_hf(FAMILY_CASES["llama, scaled rope"])
    assert (llama.family, llama.head_dim, llama.kv_heads, llama.tied) == ("llama", 8, 2, True)
    assert (llama.rope_type, llama.rope_factor, llama.rope_original, llama.rope_theta) == ("llama3", 8.0, 32.0, 1e4)
    for raw in FAMILY_CASES.values():
        config = Qwen3Config.from_hf(raw)
        assert Qwen3Config.from_hf(config.to_hf()) == config


def test_what_older_releases_leave_out_is_derived():
    raw = FAMILY_CASES["llama"]
    for name in ("num_key_value_heads", "rope_theta", "tie_word_embeddings"):
        raw = {field: value for field, value in raw.items() if field != name}
    config = Qwen3Config.from_hf(raw)
    assert (config.head_dim, config.kv_heads, config.rope_theta, config.tied) == (8, 4, 1e4, False)


@pytest.mark.parametrize(
    ("case", "change", "named"),
    [
        ("llama", {"attention_bias": True}, "attention_bias = True"),
        ("llama", {"mlp_bias": True}, "mlp_bias = True"),
        ("llama", {"sliding_window": 4096}, "sliding_window = 4096"),
        ("llama", {"rope_interleaved": True}, "rope_interleaved = True"),
        ("llama", {"num_attention_heads": 5}, "head_dim = None, expected"),
        ("llama, scaled rope", {"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "rope_scaling"),
        ("llama, scaled rope", {"rope_scaling": {"rope_type": "longrope"}}, "rope_scaling = {'rope_type': 'longrope'"),
        ("llama, scaled rope", {"rope_scaling": {**LLAMA3, "low_freq_factor": 4.0}}, "must be below high_freq_factor"),
        ("llama, scaled rope", {"rope_parameters": {**LLAMA3, "factor": 2.0}}, "rope_parameters differ"),
        ("qwen2", {"use_sliding_window": True}, "use_sliding_window = True"),
        ("qwen2", {"layer_types": ["full_attention", "sliding_attention"]}, "layer_types"),
        ("qwen2", {"rope_scaling": {"type": "yarn", "factor": 4.0}}, "rope_scaling = {'type': 'yarn'"),
    ],
)
def test_what_other_families_have_beyond_ours_is_refused_by_name(case: str, change: dict, named: str):
    with pytest.raises(InputError) as error:
        Qwen3Config.from_hf(FAMILY_CASES[case] | change)
    assert named in str(error.value) and "\n" not in str(error.value)

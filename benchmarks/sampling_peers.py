"""The same body and the same work for three samplers: ours, google-tunix 0.1.7's, and transformers' `generate`.

The body counts down: every id belongs to a class, the next id is any id of the class below, and class 0 holds the stop
id alone. A prompt that ends in class n so has responses of n tokens in every engine and with any noise, while each
token is still drawn from hundreds of likely ids. Attention and mlp are random and run in full.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from hsd_jax.sampler.sampler import Capacity, Requests, decode_params, make_sampler_config, sample, sampling_params
from hsd_jax.types import Padded
from models.qwen3 import Params, Qwen3Config, init_params

VOCABULARY, CLASSES, STOP, PAD = 151_936, 300, 1, 0
BODY = Qwen3Config(
    vocab_size=VOCABULARY,
    width=256,
    mlp_width=512,
    layers=4,
    heads=4,
    kv_heads=2,
    head_dim=64,
    rope_theta=1e6,
    norm_eps=1e-6,
    tied=False,
    max_positions=1024,
)
# (prompts, top_p) -> valid response tokens
Engine = Callable[[Sequence[np.ndarray], float], int]


def class_of(ids: np.ndarray) -> np.ndarray:
    """0 for the stop id, 1..CLASSES-1 for the others."""
    return np.where(ids == STOP, 0, 1 + ids % (CLASSES - 1))


def counting_params() -> Params:
    """Random layers between an embedding of classes and a head that prefers the class below."""
    params = init_params(BODY, jax.random.key(0))
    rng = np.random.default_rng(0)
    direction = rng.standard_normal((CLASSES, BODY.width)).astype(np.float32)
    classes = class_of(np.arange(VOCABULARY))
    above = np.minimum(classes + 1, CLASSES - 1)
    params["embed_VD"] = jax.numpy.asarray(direction[classes])
    params["head_DV"] = jax.numpy.asarray((direction[above] * (40 / BODY.width)).T)
    return params


def make_prompts(lengths: np.ndarray, window: int) -> list[np.ndarray]:
    """One prompt per response length: random ids, the last of class `length`."""
    rng = np.random.default_rng(1)
    prompts = []
    for length in lengths:
        ids = rng.integers(2, VOCABULARY, rng.integers(window // 2, window + 1)).astype(np.int32)
        ids[-1] = next(i for i in range(int(ids[-1]) % 100_000 + 2, VOCABULARY) if class_of(np.array(i)) == length)
        prompts.append(ids)
    return prompts


def log_normal_lengths(count: int, mean: float, longest: int, cv: float = 0.6) -> np.ndarray:
    """Lengths with a coefficient of variation, cut at the longest."""
    sigma = math.sqrt(math.log(1 + cv**2))
    drawn = np.random.default_rng(2).lognormal(math.log(mean) - sigma**2 / 2, sigma, count)
    return np.clip(drawn.round(), 1, longest).astype(np.int32)


def ours(params: Params, *, window: int, longest: int, slots: int, group: int, uses: list[float]) -> Engine:
    """Our sampler; notes the share of slot-steps that wrote a token in `uses`."""
    program = make_sampler_config(BODY, Capacity(window, longest, slots, chunk=16), vocabulary=VOCABULARY, pad_id=PAD)
    weights = decode_params(params, config=BODY, dtype="float32")

    def run(prompts: Sequence[np.ndarray], top_p: float) -> int:
        tokens: Any = np.stack([np.pad(ids, (0, window - len(ids))) for ids in prompts])
        length: Any = np.array([len(ids) for ids in prompts], np.int32)
        board = sample(
            program,
            weights,
            Requests(Padded(tokens, length), np.arange(len(prompts)), longest, group),
            sampling_params(top_p=top_p, stop_ids=(STOP,)),
            jax.random.key(0),
        )
        uses.append(board.used_steps / board.slot_steps)
        return int(board.rollouts.length_PG.sum())

    return run


class Tokenizer:
    """Text that is the ids themselves, as Tunix wants its prompts to be strings."""

    def encode(self, text: str) -> list[int]:
        return [int(word) for word in text.split()]

    def decode(self, ids: Sequence[int]) -> str:
        return ""

    def bos_id(self) -> int:
        return 0

    def eos_id(self) -> int:
        return STOP

    def pad_id(self) -> int:
        return PAD


def tunix(params: Params, *, window: int, longest: int, slots: int, group: int) -> Engine:
    """Tunix's sampler, in micro-batches of `slots` rows; prompts are repeated for their groups as its rollout does.

    Raises:
        ImportError: google-tunix is not installed.
    """
    from flax import nnx
    from tunix.generate.sampler import CacheConfig, Sampler
    from tunix.models.qwen3.model import ModelConfig, Qwen3

    c = BODY
    config = ModelConfig(
        num_layers=c.layers,
        vocab_size=c.vocab_size,
        embed_dim=c.width,
        hidden_dim=c.mlp_width,
        num_heads=c.heads,
        head_dim=c.head_dim,
        num_kv_heads=c.kv_heads,
        rope_theta=int(c.rope_theta),
        norm_eps=c.norm_eps,
    )
    model = Qwen3(config, rngs=nnx.Rngs(0))
    model.embedder.input_embedding.value = params["embed_VD"]
    model.lm_head.w.value = params["head_DV"]
    model.final_norm.w.value = params["final_norm_D"]
    for i, layer in enumerate(model.layers):
        w = {name: value[i] for name, value in params["layers"].items()}
        for theirs, name in (
            (layer.input_layernorm, "attn_norm_LD"),
            (layer.attn.q_proj, "q_LDNH"),
            (layer.attn.k_proj, "k_LDKH"),
            (layer.attn.v_proj, "v_LDKH"),
            (layer.attn.o_proj, "o_LNHD"),
            (layer.post_attention_layernorm, "mlp_norm_LD"),
        ):
            theirs.w.value = w[name]
        for theirs, name in (("gate_proj", "gate_LDF"), ("up_proj", "up_LDF"), ("down_proj", "down_LFD")):
            getattr(layer.mlp, theirs).kernel.value = w[name]
    sampler = Sampler(model, Tokenizer(), CacheConfig(window + longest, c.layers, c.kv_heads, c.head_dim))

    def run(prompts: Sequence[np.ndarray], top_p: float) -> int:
        texts = [" ".join(map(str, ids)) for ids in prompts for _ in range(group)]
        valid = 0
        for start in range(0, len(texts), slots):
            out = sampler(
                texts[start : start + slots],
                longest,
                max_prompt_length=window,
                temperature=1.0,
                top_p=top_p,
                seed=start,
                eos_tokens=[STOP],
            )
            valid += sum(valid_length(np.asarray(ids)) for ids in out.tokens)
        return valid

    return run


def transformers(params: Params, *, window: int, longest: int, slots: int, group: int) -> Engine:
    """transformers' `generate` on PyTorch, in micro-batches of `slots` rows."""
    import torch
    from transformers import Qwen3Config as TheirConfig
    from transformers import Qwen3ForCausalLM

    c = BODY
    config = TheirConfig(
        vocab_size=c.vocab_size,
        hidden_size=c.width,
        intermediate_size=c.mlp_width,
        num_hidden_layers=c.layers,
        num_attention_heads=c.heads,
        num_key_value_heads=c.kv_heads,
        head_dim=c.head_dim,
        rms_norm_eps=c.norm_eps,
        tie_word_embeddings=False,
        max_position_embeddings=c.max_positions,
    )
    model: Any = Qwen3ForCausalLM(config).eval()

    def tensor(value: Any) -> Any:
        return torch.nn.Parameter(torch.from_numpy(np.array(value, np.float32)))

    model.model.embed_tokens.weight = tensor(params["embed_VD"])
    model.lm_head.weight = tensor(params["head_DV"].T)
    for i, layer in enumerate(model.model.layers):
        w = {name: np.asarray(value[i]) for name, value in params["layers"].items()}
        for proj, name in (("q_proj", "q_LDNH"), ("k_proj", "k_LDKH"), ("v_proj", "v_LDKH")):
            getattr(layer.self_attn, proj).weight = tensor(w[name].reshape(c.width, -1).T)
        layer.self_attn.o_proj.weight = tensor(w["o_LNHD"].reshape(-1, c.width).T)
        for proj, name in (("gate_proj", "gate_LDF"), ("up_proj", "up_LDF"), ("down_proj", "down_LFD")):
            getattr(layer.mlp, proj).weight = tensor(w[name].T)

    def run(prompts: Sequence[np.ndarray], top_p: float) -> int:
        rows = [ids for ids in prompts for _ in range(group)]
        valid = 0
        for start in range(0, len(rows), slots):
            batch = rows[start : start + slots]
            ids = torch.full((len(batch), window), PAD)
            real = torch.zeros((len(batch), window), dtype=torch.long)
            for i, row in enumerate(batch):
                ids[i, window - len(row) :] = torch.from_numpy(row.astype(np.int64))
                real[i, window - len(row) :] = 1
            out = model.generate(
                ids,
                attention_mask=real,
                do_sample=True,
                temperature=1.0,
                top_p=top_p,
                top_k=0,
                max_new_tokens=longest,
                eos_token_id=STOP,
                pad_token_id=PAD,
            )
            valid += sum(valid_length(row.numpy()) for row in out[:, window:])
        return valid

    return run


def valid_length(ids: np.ndarray) -> int:
    """Tokens up to and with the stop id."""
    stops = np.flatnonzero(ids == STOP)
    return int(stops[0]) + 1 if len(stops) else len(ids)

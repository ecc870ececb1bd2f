"""What the five programs of this folder share: the tiny model and its task, rollouts, and fine-tuning on texts.

Everything is the project's: weights of `assets/`, questions of `hsd_jax.data.tiny`, the slot-refilling sampler, the
verifier of mathematics, the model's own forward pass with dense attention. Axes as in `hsd_jax/types.py`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from scipy import stats
from tokenizers import Tokenizer

from hsd_jax.data import chat_template, tiny
from hsd_jax.data.tiny import TinyProblem
from hsd_jax.divergence import log_probs, pick
from hsd_jax.sampler import sampler
from hsd_jax.sampler.state import SamplerConfig
from hsd_jax.types import Padded
from hsd_jax.verifiers.math import before_a_cut, grade
from models import hf, qwen3
from models.qwen3 import Params, Qwen3Config

MODEL = Path(__file__).parents[2] / "assets" / "tiny_qwen3"
TEMPLATE = chat_template.ChatTemplate(
    "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
)
STOP, PAD = "<|im_end|>", "<|endoftext|>"
# operations of a chain: the fewest that the base knows, and fewer for models that learn these first
OPERATIONS, FEW = (5, 6), (3, 4)
PROMPT, RESPONSE = 54, 48  # tokens of the longest prompt, and of a solution and some more
SEEDS, ROWS = 3, 16  # ROWS: texts in a batch of fine-tuning


class Texts(NamedTuple):
    """Token sequences, padded on the right, and what each token counts for in a loss (0: it is only read)."""

    tokens_BS: Array
    valid_BS: Array
    weights_BS: Array


@dataclass(frozen=True)
class Bench:
    """The tiny model's configuration, its tokenizer, and a sampler for prompts of one window."""

    config: Qwen3Config
    tokenizer: Tokenizer
    program: SamplerConfig

    @property
    def stop(self) -> int:
        """The id that ends a response."""
        return self.special(STOP)

    def special(self, name: str) -> int:
        """The id of a token that is one by name."""
        return self.encode(name)[0]

    def encode(self, text: str) -> list[int]:
        """The ids of a text."""
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def prompt(self, problem: TinyProblem) -> list[int]:
        """What the policy reads of a problem: the ids of the pieces, as in training."""
        pieces = chat_template.prefix(TEMPLATE, problem.question), chat_template.suffix(TEMPLATE, INSTRUCTION)
        return [i for piece in pieces for i in self.encode(piece)]

    def solved(self, problem: TinyProblem, ids: Sequence[int]) -> bool:
        """Whether the box that a response closes holds the right answer; one that was cut has no other answer."""
        return grade(before_a_cut(self.tokenizer.decode(list(ids))), problem.answer).reward == 1


INSTRUCTION = chat_template.INSTRUCTIONS["math"]


def problems(count: int, *, split: str, seed: int, operations: tuple[int, int] = OPERATIONS) -> list[TinyProblem]:
    """`count` different problems of a split, the same ones for the same seed."""
    return list(tiny.generate(count, split=split, seed=seed, operations=operations))


def open_bench(
    *, prompt_tokens: int = PROMPT, response_tokens: int = RESPONSE, slots: int = 128
) -> tuple[Bench, Params]:
    """The tiny model with a sampler of one cache shape, and its weights."""
    config, tokenizer = Qwen3Config.from_hf(MODEL), Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    room = sampler.Capacity(prompt_tokens, response_tokens, slots, chunk=16)
    pad = tokenizer.encode(PAD, add_special_tokens=False).ids[0]
    program = sampler.make_sampler_config(config, room, vocabulary=tokenizer.get_vocab_size(), pad_id=pad)
    program = replace(program, shapes=program.shapes[-1:], prefill_batch=slots)  # one shape: little to compile
    return Bench(config, tokenizer, program), hf.load_params(MODEL, config)


def decode_weights(bench: Bench, params: Params) -> sampler.DecodeParams:
    """Weights as the sampler takes them."""
    return sampler.decode_params(params, config=bench.config, dtype="float32")


def write(
    bench: Bench,
    weights: sampler.DecodeParams,
    prompts: Sequence[Sequence[int]],
    key: Array,
    *,
    limit: int | None = None,
    temperature: float = 1.0,
) -> list[list[int]]:
    """One response to each prompt, up to the stop id (kept) or `limit` tokens (all that the sampler has room for)."""
    window, length = bench.program.prompt_window, np.array([len(p) for p in prompts], np.int32)
    tokens: Any = np.full((len(prompts), window), bench.program.pad_id, np.int32)
    for row, ids in zip(tokens, prompts, strict=True):
        row[: len(ids)] = ids
    limit = limit or bench.program.response_window
    asked = sampler.Requests(Padded(tokens, length), np.arange(len(prompts)), limit, 1)  # type: ignore[arg-type]
    settings = sampler.sampling_params(temperature=temperature, stop_ids=[bench.stop])
    done = sampler.sample(bench.program, weights, asked, settings, key).rollouts
    return [
        ids[:n].tolist() for ids, n in zip(np.asarray(done.response_PGT)[:, 0], np.ravel(done.length_PG), strict=True)
    ]


def pass_at_1(bench: Bench, params: Params, problems: Sequence[TinyProblem], key: Array) -> float:
    """The share of problems that one response at temperature 1 solves."""
    responses = write(bench, decode_weights(bench, params), [bench.prompt(p) for p in problems], key)
    return float(np.mean([bench.solved(p, ids) for p, ids in zip(problems, responses, strict=True)]))


def texts_of(pairs: Iterable[tuple[Sequence[int], Sequence[int]]], window: int) -> Texts:
    """Prompts, which are read, with responses, whose every token weighs 1; each must fit the window."""
    pairs = list(pairs)
    tokens, valid, weights = (np.zeros((len(pairs), window), kind) for kind in (np.int32, bool, np.float32))
    for row, (prompt, response) in enumerate(pairs):
        n, end = len(prompt), len(prompt) + len(response)
        tokens[row, :end], valid[row, :end], weights[row, n:end] = [*prompt, *response], True, 1
    return Texts(*map(jnp.asarray, (tokens, valid, weights)))


def token_logp(config: Qwen3Config, params: Params, texts: Texts) -> Array:
    """log p(token | those before it), [B, S]; 0 for the first, which nothing predicts."""
    hidden_BSD = qwen3.forward(config, params, texts.tokens_BS, texts.valid_BS)
    logp_BSV = log_probs(qwen3.logits(params, hidden_BSD[:, :-1]))
    return jnp.pad(pick(logp_BSV, texts.tokens_BS[:, 1:]), ((0, 0), (1, 0)))


def cross_entropy(config: Qwen3Config, params: Params, texts: Texts) -> Array:
    """-sum w log p / sum w, in nats per token."""
    return -jnp.sum(texts.weights_BS * token_logp(config, params, texts)) / jnp.sum(texts.weights_BS)


@cache
def adamw(rate: float) -> optax.GradientTransformation:
    """AdamW without decay, gradients clipped at norm 1."""
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, b1=0.9, b2=0.95, weight_decay=0.0))


@partial(jax.jit, static_argnames=("loss", "config", "optimizer"))
def update(
    loss: Callable[[Qwen3Config, Params, Any], Array],
    config: Qwen3Config,
    optimizer: optax.GradientTransformation,
    params: Params,
    state: optax.OptState,
    batch: Any,
) -> tuple[Any, optax.OptState, Array]:
    """One step on `loss(config, params, batch)`."""
    value, gradient = jax.value_and_grad(lambda p: loss(config, p, batch))(params)
    changes, state = optimizer.update(gradient, state, params)
    return optax.apply_updates(params, changes), state, value


def fine_tune(
    bench: Bench, params: Params, texts: Texts, rng: np.random.Generator, *, epochs: int, rate: float
) -> Params:
    """Supervised fine-tuning: whole batches of ROWS texts in a new order every epoch."""
    state = adamw(rate).init(params)
    for _ in range(epochs):
        order = rng.permutation(len(texts.tokens_BS))
        for start in range(0, len(order) - ROWS + 1, ROWS):
            batch = jax.tree.map(lambda x: x[order[start : start + ROWS]], texts)  # noqa: B023
            params, state, _ = update(cross_entropy, bench.config, adamw(rate), params, state, batch)
    return params


def spread(values: Sequence[float]) -> str:
    """Mean over the seeds, with the lowest and the highest; nothing where there is none."""
    if np.isnan(values).any():
        return ""
    return f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def verdict(claim: str, larger: Sequence[float], smaller: Sequence[float]) -> str:
    """Whether the seeds show that `larger` is above `smaller`: Student's 95 % interval of the difference, a word."""
    difference = np.subtract(larger, smaller)
    mean, error = difference.mean(), difference.std(ddof=1) / len(difference) ** 0.5
    half = stats.t.ppf(0.975, len(difference) - 1) * error
    word = "appears" if mean > half else "the opposite appears" if mean < -half else "is not shown"
    return f"{claim}: {mean:+.3f} ({mean - half:+.3f} to {mean + half:+.3f}), {word}"

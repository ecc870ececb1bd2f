"""The gradient of one HSD update in two ways, on the same groups: what `update.py` compares and the tests count.

`packed` is the library's: groups packed in rows, contexts read once, a loss that never holds the vocabulary. `naive`
is the textbook's: every [context; response] alone in a padded window, logits [B, T, V], autodiff through all of it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hsd_jax import divergence
from hsd_jax.scoring.bin_packing import Lengths, RowPlan, pack_problems
from hsd_jax.scoring.fused_loss import LossSharding, Stream, fused_token_loss
from hsd_jax.scoring.scorer import packed_scorer
from hsd_jax.types import Array, Contexts
from models.qwen3 import Params, Qwen3Config, forward, head, logits
from models.scan import PLAIN, Compute

BETA = 1e-3
# (params, reference, student, teacher, response_PGT, length_PG) -> (loss, gradient)
Update = Callable[..., tuple[Array, Params]]


@dataclass(frozen=True)
class Groups:
    """A batch: what the student reads and what the teacher reads (nothing: no teacher), responses and their lengths."""

    student: Contexts
    teacher: Contexts
    response_PGT: np.ndarray
    length_PG: np.ndarray


def make_groups(
    length_PG: np.ndarray, question_P: np.ndarray, draws: str, vocab: int, *, answer: int = 16, seed: int = 0
) -> Groups:
    """Groups with random ids. `draws`: "coupled" peers (two contexts), "independent" ones (G), "none" (OPSD)."""
    rng = np.random.default_rng(seed)
    problems, group = length_PG.shape
    peers_PM = {
        "coupled": np.argsort(rng.random((problems, group)), axis=1)[:, :2],
        "independent": np.tile((np.arange(group) + 1) % group, (problems, 1)),
        "none": np.zeros((problems, 1), int),
    }[draws]
    peer_tokens_PM = np.take_along_axis(length_PG, peers_PM, axis=1) * (draws != "none")
    of_PG = np.zeros((problems, group), int)
    if draws == "coupled":
        np.put_along_axis(of_PG, peers_PM[:, :1], 1, axis=1)
    if draws == "independent":
        of_PG[:] = np.arange(group)

    def contexts(length_PM: np.ndarray, of_PG: np.ndarray) -> Contexts:
        ids = rng.integers(0, vocab, (*length_PM.shape, length_PM.max()), np.int32)
        return Contexts(*(np.asarray(x, np.int32) for x in (ids, length_PM, of_PG)))  # type: ignore

    return Groups(
        student=contexts(question_P[:, None], np.zeros_like(of_PG)),
        teacher=contexts(question_P[:, None] + answer + peer_tokens_PM, of_PG),
        response_PGT=rng.integers(0, vocab, (*length_PG.shape, length_PG.max()), np.int32),
        length_PG=length_PG.astype(np.int32),
    )


def plan(groups: Groups, rows: int, block: int) -> RowPlan:
    """Rows for the student and the teacher (the reference reads what the student reads)."""
    streams = [
        Lengths(np.asarray(c.length_PM), np.asarray(c.context_index_PG)) for c in (groups.student, groups.teacher)
    ]
    return pack_problems(groups.length_PG, streams, rows, block=block)


def in_order(groups: Groups, order_P: np.ndarray) -> tuple[Any, ...]:
    """The arrays that both ways take, problems in the order of a plan."""
    arrays = groups.student, groups.teacher, groups.response_PGT, groups.length_PG
    return jax.tree.map(lambda x: x[order_P], arrays)


def sequence_mean(length_PG: Array, steps: int) -> Array:
    """1 / |o_i| at every token of o_i, over the number of rollouts."""
    valid_PGT = jnp.arange(steps)[None, None] < length_PG[..., None]
    return valid_PGT / length_PG[..., None] / length_PG.size


def hsd_token(logps: tuple[Array, ...], token: Any) -> tuple[Array, dict[str, Array]]:
    """Forward KL to the teacher and β times the exact KL to the reference."""
    student, teacher, reference = logps
    loss = divergence.forward_kl_logp(student, teacher) + BETA * divergence.reverse_kl_logp(student, reference)
    return loss, {}


def grpo_token(logps: tuple[Array, ...], token: Any) -> tuple[Array, dict[str, Array]]:
    """A policy gradient with advantage 1 and the same KL to the reference: what the update costs without a teacher."""
    student, reference = logps
    return BETA * divergence.reverse_kl_logp(student, reference) - divergence.pick(student, token), {}


def packed(
    config: Qwen3Config,
    sizes: RowPlan,
    rows: int,
    steps: int,
    *,
    chunk: int,
    teacher: bool = True,
    how: Compute = PLAIN,
):
    """(params, reference, *arrays) -> (loss, gradient), the library's way; without a teacher it is GRPO's update."""
    scorer = packed_scorer(config, sizes.sizes, rows=rows, steps=steps, how=how)

    def loss(params: Params, reference: Params, student: Contexts, teachers: Contexts, response: Array, length: Array):
        frozen = [Stream(scorer.student(reference, student, response, length), head(reference))]
        if teacher:
            live = jax.lax.stop_gradient(params)
            frozen.insert(0, Stream(scorer.view(0)(live, teachers, response, length), head(live)))
        weights_N = scorer.flatten(sequence_mean(length, steps), length)
        stream = Stream(scorer.student(params, student, response, length), head(params))
        token = scorer.flatten(response, length)
        token_loss = hsd_token if teacher else grpo_token
        return fused_token_loss(token_loss, stream, tuple(frozen), token, weights_N, LossSharding(chunk))[0]

    return jax.value_and_grad(loss)


def naive(config: Qwen3Config, steps: int, *, how: Compute = PLAIN) -> Update:
    """(params, reference, *arrays) -> (loss, gradient) with every [context; response] alone and logits [B, T, V]."""

    def logp(params: Params, contexts: Contexts, response: Array, length: Array) -> Array:
        read = jnp.take_along_axis(contexts.length_PM, contexts.context_index_PG, axis=1).reshape(-1)
        prompt = jnp.take_along_axis(contexts.tokens_PMC, contexts.context_index_PG[..., None], axis=1)
        window = jnp.concatenate([prompt, response], axis=2).reshape(len(read), -1)
        place = jnp.arange(window.shape[1])[None]
        begin, end = read[:, None], read[:, None] + length.reshape(-1, 1)
        index = jnp.where(place < begin, place, prompt.shape[2] + place - begin)
        tokens = jnp.take_along_axis(window, jnp.minimum(index, window.shape[1] - 1), axis=1)
        hidden = forward(config, params, tokens, place < end, how=how)
        before = jnp.minimum(begin - 1 + jnp.arange(steps)[None], window.shape[1] - 1)
        hidden = jnp.take_along_axis(hidden, before[..., None], axis=1)
        return divergence.log_probs(logits(params, hidden))

    def loss(params: Params, reference: Params, student: Contexts, teachers: Contexts, response: Array, length: Array):
        teacher = jax.lax.stop_gradient(logp(params, teachers, response, length))
        policy, initial = logp(params, student, response, length), logp(reference, student, response, length)
        token_loss, _ = hsd_token((policy, teacher, initial), ())
        return jnp.sum(sequence_mean(length, steps).reshape(token_loss.shape) * token_loss)

    return jax.value_and_grad(loss)


def analytic_minimum(config: Qwen3Config, groups: Groups, *, teacher: bool = True) -> float:
    """FLOPs of the real tokens alone: products with weights, causal attention to real keys, head at response tokens.

    A forward pass counts once, the student's backward pass twice; nothing is computed twice.
    """
    c = config
    per_token = 2 * c.layers * c.width * (2 * (c.heads + c.kv_heads) * c.head_dim + 3 * c.mlp_width)
    per_pair = 4 * c.layers * c.heads * c.head_dim
    length_PG = groups.length_PG.astype(float)

    def body(contexts: Contexts) -> float:
        read_PM = np.asarray(contexts.length_PM, float)
        read_PG = np.take_along_axis(read_PM, np.asarray(contexts.context_index_PG), axis=1)
        causal = sum((n * (n + 1) / 2).sum() for n in (read_PM, length_PG))
        tokens = read_PM.sum() + length_PG.sum()
        return per_token * tokens + per_pair * (causal + (read_PG * length_PG).sum())

    products = 4 + teacher
    total_head = products * 2 * c.width * c.vocab_size * length_PG.sum()
    return 4 * body(groups.student) + teacher * body(groups.teacher) + total_head

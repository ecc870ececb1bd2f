"""What the tiny base is pre-trained on: which tokens carry loss, and that responses to one context stay apart."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from transformers import AutoTokenizer

from hsd_jax.data import chat_template, tiny
from models import qwen3
from tests.support.paths import TINY_MODEL
from tests.support.tiny_config import tiny_config
from tools import make_tiny_base, tiny_documents

CONFIG = tiny_config(vocab_size=512)


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(TINY_MODEL)


@pytest.fixture(scope="module")
def batches(tokenizer):
    encode, frame = tiny_documents.encoder(tokenizer), chat_template.load_chat_template(tokenizer)
    return tiny_documents.batch(encode, frame, tiny_documents.Mixture(), tokenizer.pad_token_id, [0, 1])


def claims(text: str) -> list[tuple[bool, str]]:
    """For every written step whether it is right, and its result."""
    lines = text.split("\n")[:-1]
    return [(eval(left) % 10 == int(right), right) for left, right in (line.split("=") for line in lines)]


@pytest.mark.parametrize("part", [0, 1])
def test_results_weigh_more_and_slips_after_an_attempt_weigh_nothing(tokenizer, batches, part):
    _, _, response_BRT, weights_BRT = batches[part]
    seen = set()
    for ids, weights in zip(response_BRT.reshape(-1, 58), weights_BRT.reshape(-1, 58), strict=True):
        text = tokenizer.decode(ids[ids != tokenizer.pad_token_id])
        results = [i + 1 for i, token in enumerate(tokenizer.convert_ids_to_tokens(ids)) if token == "="]
        for place, (right, digit) in zip(results, claims(text), strict=True):
            assert tokenizer.decode(ids[place]) == digit
            assert weights[place] == (tiny_documents.RESULT_WEIGHT if right or part == 0 else 0.0)
            seen.add(right)
        others = np.delete(np.arange(58), results)
        np.testing.assert_array_equal(weights[others], ids[others] != tokenizer.pad_token_id)
    assert seen == {True, False}


def test_habits_are_of_writers_who_read_no_attempt_and_go_one_too_far():
    chain, mix = tiny.Chain((1, 7, 7, 3, 5, 9), "*+*-*"), tiny_documents.Mixture()
    habitual, rng = np.array([True, False, False, False, True]), np.random.default_rng(0)
    alone, reader = (
        np.array([tiny_documents.slips(rng, chain, mix, attempt=attempt) for _ in range(4000)])
        for attempt in (False, True)
    )
    assert set(alone[:, habitual].ravel()) == {0, 1} and set(alone[:, ~habitual].ravel()) == set(range(10))
    np.testing.assert_allclose((alone != 0).mean(0), np.where(habitual, 0.65, 0.06), atol=0.03)
    np.testing.assert_allclose((reader != 0).mean(0), mix.path_slip, atol=0.03)


def test_every_kind_reads_what_it_should_and_all_problems_are_training_problems(tokenizer, batches):
    short, long = (tokenizer.batch_decode(batch[0]) for batch in batches)
    blocks = ("Reference answer", "Feedback", "correct attempt", "Reference solution")
    read = ["".join(str(i) for i, block in enumerate(blocks) if block in text) for text in short + long]
    assert read == ["", "", "", "", "0", "1", "02", "02", "2", "3"]
    for text in short + long:
        expression = text.split("modulo 10: ")[1].split("\n")[0]
        numbers = tuple(int(d) for d in expression[::2])
        assert tiny.split_of(tiny.Chain(numbers, expression[1::2])) == "train"


def test_responses_to_a_shared_context_are_scored_as_if_alone(batches):
    params = qwen3.init_params(CONFIG, jax.random.key(0))
    batch = tuple(part[:2, :2] if part.ndim == 3 else part[:2] for part in batches[0])
    together = jax.jit(make_tiny_base.response_logits, static_argnums=0)(CONFIG, params, batch)
    context_BC, valid_BC, response_BRT, _ = batch
    tokens = np.concatenate([np.repeat(context_BC, 2, 0), response_BRT.reshape(4, -1)], axis=1)
    valid = np.concatenate([np.repeat(valid_BC, 2, 0), np.ones((4, response_BRT.shape[2]), bool)], axis=1)
    hidden = jax.jit(qwen3.forward, static_argnums=0)(CONFIG, params, jnp.asarray(tokens), jnp.asarray(valid))
    alone = qwen3.logits(params, hidden[:, context_BC.shape[1] - 1 : -1])
    np.testing.assert_allclose(together.reshape(alone.shape), alone, atol=1e-5)

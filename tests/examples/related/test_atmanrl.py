"""AtManRL's mask, saliency, proxy and loss against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from examples.related import atmanrl, bench
from examples.related.atmanrl import START, Traces
from examples.related.bench import Texts
from hsd_jax.data import tiny
from tests.support.numpy_qwen3 import CONFIG, causal, random_params, run, slope

LENGTH, COLUMNS, ANSWER = 8, slice(2, 6), 7


@pytest.fixture(scope="module")
def traces() -> Traces:
    """Two rows; the reasoning stands in columns 2 to 5, the answer is the last token. The second has no box."""
    tokens = np.random.default_rng(0).integers(0, CONFIG.vocab_size, (2, LENGTH)).astype(np.int32)
    valid, answer = np.ones((2, LENGTH), bool), np.zeros((2, LENGTH), bool)
    region = np.zeros((2, LENGTH, LENGTH), bool)
    answer[0, ANSWER], region[0, :, COLUMNS] = True, True
    texts = Texts(jnp.asarray(tokens), jnp.asarray(valid), jnp.ones((2, LENGTH)))
    return Traces(texts, jnp.asarray(answer), jnp.asarray(region & np.tri(LENGTH, dtype=bool)))


def logp(params, traces: Traces, bias: np.ndarray) -> float:
    tokens = np.asarray(traces.texts.tokens_BS[0])
    return run(params, tokens, causal(LENGTH) + bias).logp[ANSWER - 1, tokens[ANSWER]]


def test_proxy_is_the_gradient_and_the_mask_is_what_adamw_learns(traces: Traces) -> None:
    """Every entry of the first step against central differences; two steps against AdamW written out."""
    params, region = random_params(1), np.asarray(traces.region_BSS[0])

    def gradient(mask: np.ndarray) -> np.ndarray:
        out = np.zeros(mask.shape)
        for i, j in np.argwhere(region):
            one = np.zeros(mask.shape)
            one[i, j] = 1
            out[i, j] = slope(lambda step, one=one: logp(params, traces, atmanrl.SCALE * (mask + step * one)))
        return out

    got = np.asarray(atmanrl.proxy(CONFIG, params, traces))
    np.testing.assert_allclose(got[0], gradient(np.zeros(region.shape)), atol=2e-4)
    assert np.abs(got[0]).max() > 0.01 and not got[1].any()
    mask, m, v, rate = START * region, 0.0, 0.0, 0.1
    for t in (1, 2):
        g = -gradient(mask)
        m, v = 0.6 * m + 0.4 * g, 0.9999 * v + 0.0001 * g**2
        step = m / (1 - 0.6**t) / (np.sqrt(v / (1 - 0.9999**t)) + 1e-8)
        mask = np.minimum(mask - rate * (step + 0.05 * mask), 0)
    learnt = np.asarray(atmanrl.learn_mask(CONFIG, params, traces, 2, rate))[0]
    clear = np.abs(gradient(START * region)) > 1e-3  # Adam's first step is the sign of a gradient
    assert clear.sum() > 5
    np.testing.assert_allclose(learnt[clear], mask[clear], atol=5e-3)
    assert (learnt <= 0).all() and not learnt[~region].any()


def test_saliency_is_the_share_that_was_re_enabled(traces: Traces) -> None:
    region = traces.region_BSS
    # the second response has no box, and so no region: nothing had to be re-enabled
    assert np.allclose(atmanrl.saliency(START * region, region), [0, 0])
    assert np.allclose(atmanrl.saliency(0 * region, region), [1, 0])
    quarter = START * region * jnp.where(jnp.arange(LENGTH) == 2, 0, 1)
    wanted = np.asarray(region[0])[:, 2].sum() / np.asarray(region[0]).sum()
    assert float(atmanrl.saliency(quarter, region)[0]) == pytest.approx(wanted, abs=1e-6)
    columns = atmanrl.by_column(quarter / START, region)[0]
    np.testing.assert_allclose(columns, [np.nan, np.nan, 0, 1, 1, 1, np.nan, np.nan])
    rest = atmanrl.by_column(1 - quarter / START, region)[0]  # 1 outside of the region, which does not count
    np.testing.assert_allclose(rest, 1 - columns)
    assert atmanrl.rank_correlation(columns[None], columns[None]) == pytest.approx(1)


def test_loss_is_the_clipped_one_of_sequences(traces: Traces) -> None:
    params, tokens = random_params(2), np.asarray(traces.texts.tokens_BS)
    logp_BS = np.stack(
        [[run(params, row, causal(LENGTH)).logp[t - 1, row[t]] for t in range(1, LENGTH)] for row in tokens]
    )
    old_BS = logp_BS + np.array([[-0.5], [0.1]])  # ratios e^.5 and e^-.1
    weights_BS = np.ones((2, LENGTH), np.float32)
    weights_BS[:, 0] = 0
    advantage_B = np.array([1.0, -2.0])
    ratio_B = np.exp([0.5, -0.1])
    wanted = -np.mean(np.minimum(ratio_B * advantage_B, np.clip(ratio_B, 0.8, 1.2) * advantage_B))
    batch = (
        traces.texts._replace(weights_BS=jnp.asarray(weights_BS)),
        jnp.pad(jnp.asarray(old_BS), ((0, 0), (1, 0))),
        jnp.asarray(advantage_B),
    )
    loss = jax.jit(atmanrl.policy_loss, static_argnums=0)(CONFIG, params, batch)
    assert float(loss) == pytest.approx(wanted, rel=1e-3)


def test_answer_and_reasoning_are_found_in_a_trace() -> None:
    tokenizer = bench.Tokenizer.from_file(str(bench.MODEL / "tokenizer.json"))
    lab = bench.Bench(CONFIG, tokenizer, None)  # type: ignore[arg-type]
    texts = ["7+3=0\n0-2=8\nThe answer is \\boxed{8}.<|im_end|>", "7+3=0\n7+3=0\n7+3="]
    traces = atmanrl.traces_of(lab, [[1, 2, 3]] * 2, [lab.encode(text) for text in texts])
    answer = np.asarray(traces.texts.tokens_BS)[np.asarray(traces.answer_BS)]
    assert tokenizer.decode(answer.tolist()) == "8"
    columns = np.asarray(traces.region_BSS[0]).any(axis=0)
    assert tokenizer.decode(np.asarray(traces.texts.tokens_BS)[0][columns].tolist()) == "7+3=0\n0-2=8\n"
    assert not np.asarray(traces.region_BSS[1]).any()


def test_idle_lines_say_nothing_and_their_share_varies() -> None:
    rng, shares = np.random.default_rng(0), []
    for _ in range(200):
        chain = tiny.random_chain(rng, bench.FEW)
        text = atmanrl.idle_solution(chain, rng)
        steps = [line.split("=")[0][1:] for line in text.replace(atmanrl.IDLE, "").splitlines()[:-1]]
        assert steps == [o + str(n) for o, n in zip(chain.operators, chain.numbers[1:], strict=True)]
        shares.append(text.count(atmanrl.IDLE) / len(chain.operators))
    assert np.mean(shares) == pytest.approx(0.5, abs=0.1) and {0.0, 1.0} < set(shares)

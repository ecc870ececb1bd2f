"""Rows of the table against other implementations, on random groups: loss and gradient with respect to the logits.

The others are test-only dependencies: trl (`make oracle`) and verl (pip install verl --no-deps); what is not
installed is skipped by name. Both estimate the reference KL by k3, so the rows are run with it.
"""

from collections import defaultdict
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hsd_jax import advantages, losses, methods
from hsd_jax.divergence import forward_kl_logp, jsd_logp, pick, reverse_kl_logp
from hsd_jax.methods import METHODS

pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore")]

P, G, T, V = 3, 4, 5, 13
BETA = 0.04
RNG = np.random.default_rng(11)
STUDENT, TEACHER, REFERENCE = (2 * RNG.normal(size=(P * G, T, V)).astype(np.float32) for _ in range(3))
IDS = RNG.integers(0, V, (P * G, T))
LENGTH = RNG.integers(1, T + 1, P * G)
MASK = np.arange(T)[None] < LENGTH[:, None]
REWARDS = np.array([[1, 0, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0]], np.float32)
# sampled by a policy that was a little, and somewhat, different
OLD = np.asarray(pick(jax.nn.log_softmax(STUDENT), jnp.asarray(IDS))) + np.array([1e-4, 0.3] * 6)[:, None] * RNG.normal(
    size=(P * G, T)
)
GOLDEN = (
    np.array([[0.5, -1, 2, 0, 1], [0, 0.3, -0.7, 1.2, -2]], np.float32),
    np.array([[1.5, 0, -1, 0.5, 2], [-1, 2, 0.1, 0.4, 0]], np.float32),
)


@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch", reason="torch is a test-only dependency")


def module(name: str, why: str) -> Any:
    return pytest.importorskip(name, reason=why, exc_type=ImportError)


def trl(name: str) -> Any:
    return module(f"trl.{name}", "pip install trl --no-deps")


def ours(name: str, **row: Any) -> tuple[float, np.ndarray]:
    """The loss of a row on the groups above, and its gradient with respect to the student's logits."""
    method = replace(METHODS[name], **({"beta": BETA, "reference_kl": losses.k3} | row))
    shape = (P, G, T)
    valid_PGT, length_PG = jnp.asarray(MASK.reshape(shape)), jnp.asarray(LENGTH.reshape(P, G))
    over_tokens = lambda values_PG: jnp.broadcast_to(values_PG[..., None], shape).reshape(-1)  # noqa: E731
    old = jnp.asarray(OLD, jnp.float32)

    @jax.jit
    def loss(logits: jax.Array) -> jax.Array:
        student = jax.nn.log_softmax(logits)
        logprob_PGT = lambda: jax.lax.stop_gradient(pick(student, jnp.asarray(IDS))).reshape(shape)  # noqa: E731
        token = losses.TokenInputs(
            id=jnp.asarray(IDS.reshape(-1)),
            distill=jnp.ones(P * G * T),
            advantage=over_tokens(method.advantage(jnp.asarray(REWARDS))),
            old_logprob=old.reshape(-1),
            log_ratio=method.rollout_ratio(logprob_PGT, old.reshape(shape), length_PG).reshape(-1),
            strength=jnp.full(P * G * T, 0.5),
            reward=over_tokens(jnp.asarray(REWARDS)),
        )
        others = {name: jax.nn.log_softmax(x).reshape(-1, V) for name, x in OTHERS.items()}
        values = methods.token_loss(method)(student.reshape(-1, V), others, token)
        return jnp.sum(method.normalize(valid_PGT).reshape(-1) * values)

    value, gradient = jax.value_and_grad(loss)(jnp.asarray(STUDENT))
    return float(value), np.asarray(gradient)


OTHERS = {"teacher": TEACHER, "reference": REFERENCE}


def assert_equal(mine: tuple[float, np.ndarray], value: Any, logits: Any) -> None:
    """Compares with a torch value; its gradient is that of `logits`."""
    value.backward()
    assert mine[0] == pytest.approx(float(value), rel=2e-5)
    assert np.abs(mine[1]).max() > 1e-4
    np.testing.assert_allclose(mine[1], logits.grad.numpy(), atol=2e-6, rtol=2e-4)


def logprobs(torch: Any, logits: Any) -> Any:
    return torch.log_softmax(logits, -1).gather(-1, torch.tensor(IDS)[..., None])[..., 0]


def leaf(torch: Any) -> Any:
    return torch.tensor(STUDENT, dtype=torch.float64, requires_grad=True)


# --- trl


@pytest.mark.parametrize(
    ("name", "loss_type", "level", "low", "high"),
    [
        ("grpo", "grpo", "token", 0.2, 0.2),
        ("dr_grpo", "dr_grpo", "token", 0.2, 0.2),
        ("dapo", "dapo", "token", 0.2, 0.28),
        ("gspo", "grpo", "sequence", 3e-4, 4e-4),
    ],
)
def test_policy_gradients_equal_trl(torch: Any, name: str, loss_type: str, level: str, low: float, high: float) -> None:
    trainer = trl("trainer.grpo_trainer").GRPOTrainer
    logits = leaf(torch)
    scored = logprobs(torch, logits)
    accelerator = SimpleNamespace(
        num_processes=1, gather=lambda x: x, gather_for_metrics=lambda x: x, reduce=lambda x, reduction: x
    )
    args = SimpleNamespace(delta=None, use_bias_correction_kl=False, steps_per_generation=1)
    stub = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *a, **k: (scored, torch.zeros_like(scored), None),
        **{"aux_loss_enabled": False, "top_entropy_quantile": 1.0, "off_policy_mask_threshold": None},
        **{"importance_sampling_level": level, "beta": BETA, "args": args, "loss_type": loss_type},
        **{"epsilon_low": low, "epsilon_high": high, "use_vllm": False, "vllm_importance_sampling_correction": False},
        **{"model": SimpleNamespace(training=True), "current_gradient_accumulation_steps": 1},
        **{"max_completion_length": T, "accelerator": accelerator, "_entropy_bonus_enabled": False},
        **{"use_adaptive_entropy": False, "_metrics": defaultdict(lambda: defaultdict(list))},
    )
    advantage = advantages.centered if name == "dr_grpo" else advantages.standardized
    prompt = torch.zeros(P * G, 1, dtype=torch.long)
    inputs = {
        **{"prompt_ids": prompt, "prompt_mask": prompt, "completion_ids": torch.tensor(IDS)},
        "completion_mask": torch.tensor(MASK, dtype=torch.float64),
        "advantages": torch.tensor(np.asarray(advantage(jnp.asarray(REWARDS)), np.float64).reshape(-1)),
        "old_per_token_logps": torch.tensor(OLD),
        "ref_per_token_logps": logprobs(torch, torch.tensor(REFERENCE, dtype=torch.float64)),
        "num_items_in_batch": torch.tensor(MASK.sum()),
    }
    assert_equal(ours(name), trainer._compute_loss(stub, None, inputs), logits)


@pytest.mark.parametrize("k", [2, 3, 6])
def test_sdpo_equals_trl(torch: Any, k: int) -> None:
    """Top-k with tail, importance clip, and the mean over all tokens; k is small here: 13 tokens have no top 100."""
    utils = trl("experimental.sdpo.loss_utils")
    logits = leaf(torch)
    per_token = utils.compute_topk_self_distillation_loss(
        logits,
        torch.tensor(TEACHER, dtype=torch.float64),
        distillation_topk=k,
        distillation_alpha=0.5,
        distillation_add_tail=True,
    )
    old = torch.tensor(OLD)
    per_token = utils.apply_importance_sampling_clipping(per_token, logprobs(torch, logits), old, 2.0)
    wanted = (per_token * torch.tensor(MASK)).sum() / MASK.sum()
    kept = losses.top_k_with_tail(partial(jsd_logp, alpha=0.5), k)
    mine = ours("sdpo", beta=0.0, divergence=losses.with_importance(losses.distillation(kept)))
    assert_equal(mine, wanted, logits)


@pytest.mark.parametrize(
    ("divergence", "alpha"), [(forward_kl_logp, 0.0), (partial(jsd_logp, alpha=0.5), 0.5), (reverse_kl_logp, 1.0)]
)
def test_divergences_over_the_full_vocabulary_equal_trl(
    torch: Any, divergence: losses.Divergence, alpha: float
) -> None:
    """Eq. 13 (alpha 0) and its alternatives, with the mean over each sequence."""
    utils = trl("experimental.sdpo.loss_utils")
    logits, teacher = leaf(torch), torch.tensor(TEACHER, dtype=torch.float64)
    per_token = utils.compute_full_logit_self_distillation_loss(logits, teacher, distillation_alpha=alpha)
    mask = torch.tensor(MASK)
    wanted = ((per_token * mask).sum(-1) / mask.sum(-1)).mean()
    assert_equal(ours("hsd", beta=0.0, divergence=losses.distillation(divergence)), wanted, logits)


def test_the_sampled_estimate_equals_trl(torch: Any) -> None:
    utils = trl("experimental.sdpo.loss_utils")
    logits, teacher = leaf(torch), torch.tensor(TEACHER, dtype=torch.float64)
    per_token = utils.compute_sampled_token_self_distillation_loss(
        logits, teacher, torch.tensor(IDS), distillation_alpha=1.0
    )
    wanted = (per_token * torch.tensor(MASK)).sum() / MASK.sum()
    mine = ours("hsd", beta=0.0, divergence=losses.sampled_reverse, normalize=advantages.token_mean)
    assert_equal(mine, wanted, logits)


def test_opsd_without_its_clip_equals_trl(torch: Any) -> None:
    """Generalized JSD at beta 0 and temperature 1.1, the mean over all tokens."""
    trainer = trl("experimental.gkd").GKDTrainer
    logits, teacher = leaf(torch), torch.tensor(TEACHER, dtype=torch.float64)
    labels = torch.tensor(np.where(MASK, IDS, -100))
    wanted = trainer.generalized_jsd_loss(logits, teacher, labels=labels, beta=0, temperature=1.1)
    loose = losses.distillation(losses.tempered(losses.pointwise_clipped_kl(np.inf), 1.1))
    assert_equal(ours("opsd_official", beta=0.0, divergence=loose), wanted, logits)


@pytest.mark.parametrize(("beta", "golden"), [(0.0, 0.58225585), (0.3, 0.12577493), (1.0, 0.87902679)])
def test_tempered_divergences_golden_values(beta: float, golden: float) -> None:
    """Generalized JSD at temperature 1.1, the mean of two tokens; needs no other implementation."""
    divergence = losses.tempered(partial(jsd_logp, alpha=beta), 1.1)
    values = jax.jit(divergence)(*(jax.nn.log_softmax(x) for x in GOLDEN))
    assert float(values.mean()) == pytest.approx(golden, abs=1e-6)


# --- verl


@pytest.fixture(scope="module")
def verl() -> Any:
    return module("verl.trainer.ppo.core_algos", "pip install verl --no-deps, and what it imports")


@pytest.mark.parametrize(("standardize", "mine"), [(True, advantages.standardized), (False, advantages.centered)])
def test_advantages_equal_verl(torch: Any, verl: Any, standardize: bool, mine: Any) -> None:
    mask = torch.tensor(MASK, dtype=torch.float64)
    rewards = torch.zeros(P * G, T, dtype=torch.float64)
    rewards[torch.arange(P * G), torch.tensor(LENGTH - 1)] = torch.tensor(REWARDS.reshape(-1), dtype=torch.float64)
    index = np.repeat(np.arange(P), G)
    wanted, _ = verl.compute_grpo_outcome_advantage(rewards, mask, index, norm_adv_by_std_in_grpo=standardize)
    got = np.asarray(mine(jnp.asarray(REWARDS))).reshape(-1, 1) * MASK
    np.testing.assert_allclose(got, wanted.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("mode", "mine"), [("token-mean", advantages.token_mean), ("seq-mean-token-mean", advantages.sequence_mean)]
)
def test_normalization_equals_verl(torch: Any, verl: Any, mode: str, mine: Any) -> None:
    values = RNG.normal(size=(P * G, T))
    wanted = float(verl.agg_loss(torch.tensor(values), torch.tensor(MASK, dtype=torch.float64), mode))
    got = float(jnp.sum(mine(jnp.asarray(MASK.reshape(P, G, T))) * values.reshape(P, G, T)))
    assert got == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize(("kind", "mine"), [("kl", losses.k1), ("mse", losses.k2), ("low_var_kl", losses.k3)])
def test_estimates_of_the_reference_kl_equal_verl(torch: Any, verl: Any, kind: str, mine: losses.TokenLoss) -> None:
    near = STUDENT + RNG.normal(size=STUDENT.shape).astype(np.float32) / 2
    student, reference = (torch.tensor(x, dtype=torch.float64) for x in (STUDENT, near))
    wanted = verl.kl_penalty(logprobs(torch, student), logprobs(torch, reference), kind).numpy()
    assert (np.abs(wanted) < 10).all()  # verl cuts k3 there
    ones = jnp.ones((P * G, T))
    token = losses.TokenInputs(jnp.asarray(IDS), ones, ones, ones, ones, ones, ones)
    got = mine(jax.nn.log_softmax(STUDENT), {"reference": jax.nn.log_softmax(near)}, token)
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "function", "mode", "low", "high"),
    [
        ("grpo", "compute_policy_loss_vanilla", "seq-mean-token-mean", 0.2, 0.2),
        ("dapo", "compute_policy_loss_vanilla", "token-mean", 0.2, 0.28),
        ("gspo", "compute_policy_loss_gspo", "seq-mean-token-mean", 3e-4, 4e-4),
    ],
)
def test_policy_gradients_equal_verl(
    torch: Any, verl: Any, name: str, function: str, mode: str, low: float, high: float
) -> None:
    """verl's second clip, of ratios above 3 at negative advantages, which we do not have, does not act here."""
    size = {"ppo_mini_batch_size": P * G, "ppo_micro_batch_size_per_gpu": P * G}
    settings = module("verl.workers.config", "pip install verl").ActorConfig(
        strategy="fsdp", rollout_n=G, clip_ratio_low=low, clip_ratio_high=high, **size
    )
    logits = leaf(torch)
    advantages_N = np.asarray(advantages.standardized(jnp.asarray(REWARDS)), np.float64).reshape(-1, 1) * np.ones(
        (1, T)
    )
    scored, mask = logprobs(torch, logits), torch.tensor(MASK, dtype=torch.float64)
    assert float((scored.detach() - torch.tensor(OLD)).exp().max()) < 3
    wanted, _ = getattr(verl, function)(torch.tensor(OLD), scored, torch.tensor(advantages_N), mask, mode, settings)
    assert_equal(ours(name, beta=0.0), wanted, logits)

"""Methods that differ in which rollouts are read, or in which are learned from."""

from dataclasses import replace

from hsd_jax import advantages, losses, shares, targets
from hsd_jax.methods.paper import GRPO, PAPER
from hsd_jax.methods.row import Method, teacher_reads
from hsd_jax.reading.pieces import PEER, Attempts

SDPO = PAPER["sdpo"]

SELECTING: dict[str, Method] = {
    "mopd": replace(
        SDPO,
        source="arXiv:2605.12652, released code",
        views=teacher_reads(Attempts(count=2), Attempts("failures", wrapper="failed")),
    ),
    "srpo": replace(
        SDPO,
        source="arXiv:2604.02288",
        divergence=targets.routed(losses.policy_gradient(0.2, 0.28), SDPO.divergence),
        distilled=advantages.failed_with_peer,
        advantage=advantages.centered,
        shares=shares.confident(1.0),
        beta=0.0,
    ),
    "oasis": replace(
        PAPER["opsd_official"],
        source="arXiv:2609.37915",
        views=teacher_reads(Attempts("failures_first", rule="shortest", wrapper="attempt")),
        divergence=losses.distillation(losses.tempered(losses.pointwise_clipped_kl(0.05), 1.1)),
        distilled=advantages.shortest_success,
    ),
    "ssopd": replace(
        GRPO,
        source="arXiv:2605.17497",
        views=teacher_reads(replace(PEER, rule="shortest")),
        distill=1.0,
        divergence=losses.distillation(losses.pointwise_clipped_kl(0.05)),
        distilled=advantages.longest_failure,
        teacher="frozen",
        beta=0.0,
    ),
}

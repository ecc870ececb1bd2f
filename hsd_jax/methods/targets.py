"""Distillation of targets that are made of more than one view."""

from dataclasses import replace

from hsd_jax import advantages, losses, shares, targets
from hsd_jax.divergence import reverse_kl_logp
from hsd_jax.methods.paper import HSD, OPSD
from hsd_jax.methods.row import ANCHOR, Method, View, teacher_reads
from hsd_jax.reading.pieces import CLOSING, OPENING, PEER, SOLUTION

BLIND = ("blind", View("teacher", (OPENING, SOLUTION, CLOSING)))  # the reference without the question

TARGETS: dict[str, Method] = {
    "purified_opsd": replace(
        OPSD,
        source="arXiv:2607.02234",
        views=(*teacher_reads(SOLUTION), BLIND, ANCHOR),
        divergence=targets.purified(0.5, 10.0, 1.0),
        normalize=advantages.token_mean,
        teacher="frozen",
        beta=0.0,
    ),
    "vopd": replace(
        OPSD,
        source="arXiv:2605.07865, released code",
        divergence=targets.sampled_reverse_with_baseline,
        normalize=advantages.token_mean,
        teacher="frozen",
        beta=0.0,
    ),
    "msd": replace(
        OPSD,
        source="arXiv:2605.02971",
        views=teacher_reads(SOLUTION),
        divergence=targets.shared(losses.distillation(reverse_kl_logp)),
        shares=shares.sure_where_the_student_is_not(32),
        teacher="frozen",
        beta=0.0,
    ),
    "demopsd": replace(
        HSD,
        source="arXiv:2607.02502",
        views=(*teacher_reads(PEER), ANCHOR),
        divergence=losses.mixture_kl(0.15, 50.0),
        distilled=advantages.with_peer,
        normalize=advantages.token_mean,
        old_policy="sampler",
        teacher="ema",
        beta=0.0,
    ),
}

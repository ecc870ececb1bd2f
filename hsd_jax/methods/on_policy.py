"""On-policy distillation by sampled or truncated divergences; where the sources have a stronger teacher, ours reads."""

from dataclasses import replace

from hsd_jax import advantages, losses
from hsd_jax.divergence import forward_kl_logp, reverse_kl_logp
from hsd_jax.methods.paper import OPSD
from hsd_jax.methods.row import Method
from hsd_jax.reading.further_rows import GOLDEN, SUCCESS_OR_GOLDEN

OPD = replace(OPSD, divergence=losses.sampled_reverse, normalize=advantages.token_mean, teacher="frozen", beta=0.0)
TOPD = replace(OPD, source="arXiv:2605.31490 (self-distillation)", horizon=0.25, horizon_stops=True)

ON_POLICY: dict[str, Method] = {
    "popd": replace(TOPD, horizon_every=100),
    "topd": TOPD,
    "rethinking_opd": replace(
        OPD,
        source="arXiv:2604.13016, released code (self-distillation)",
        divergence=losses.on_support("student", 16),
        overlap=16,
    ),
    "stable_opd": replace(
        OPD,
        source="arXiv:2604.08527 (self-distillation; weights ours)",
        normalize=advantages.sequence_mean,
        beta=0.01,
        rows=(GOLDEN,),
        row_weight=0.1,
    ),
    "brts": replace(
        OPD,
        source="arXiv:2605.09725 (self-distillation)",
        divergence=losses.distillation(losses.on_likeliest(reverse_kl_logp, 16, "student")),
        rows=(SUCCESS_OR_GOLDEN,),
        row_loss=losses.distillation(losses.on_likeliest(forward_kl_logp, 16, "teacher")),
        row_weight=10.0,
    ),
}

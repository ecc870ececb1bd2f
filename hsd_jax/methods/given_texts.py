"""Methods whose teachers read texts that the data or a file give: rubrics, skills, another wording of the prompt."""

from dataclasses import replace

from hsd_jax import advantages, losses, shares, targets
from hsd_jax.divergence import reverse_kl_logp
from hsd_jax.methods.paper import OPSD
from hsd_jax.methods.row import Method, View, teacher_reads
from hsd_jax.reading.pieces import ANSWER, Text, privileged

SKILLED = ("teacher", "teacher1", "teacher2", "teacher3")  # each reads a skill of its own


def reads_skill(number: int) -> View:
    """The teacher's weights after one of the skills that were found for the question."""
    return View("teacher", privileged(Text(f"skill{number}", needed=True)))


GIVEN_TEXTS: dict[str, Method] = {
    "rcsd": replace(
        OPSD,
        source="arXiv:2606.19327, released code (cached rubrics)",
        views=teacher_reads(ANSWER, Text("rubric", needed=True)),
        divergence=losses.distillation(losses.on_likeliest(losses.pointwise_clipped_kl(0.05), 20, "teacher")),
        normalize=advantages.token_mean,
        teacher="frozen",
        beta=0.0,
    ),
    "ccopd": replace(
        OPSD,
        source="arXiv:2605.30251",
        views=(("teacher", View("teacher", (Text("canonical", needed=True),))),),
        divergence=losses.distillation(reverse_kl_logp),
        teacher="frozen",
        beta=0.0,
    ),
    "sgsd": replace(
        OPSD,
        source="arXiv:2605.28791, released code (given skills)",
        views=tuple((name, reads_skill(number)) for number, name in enumerate(SKILLED)),
        divergence=targets.polarized_gaps(SKILLED, 1.0),
        shares=shares.polarity(SKILLED, 3.0, 0.05),
    ),
}

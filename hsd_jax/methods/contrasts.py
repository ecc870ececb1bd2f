"""Methods that compare a right hint with a wrong one in the same words, so that what both do to a token cancels."""

from dataclasses import replace

from hsd_jax import advantages, losses, targets
from hsd_jax.methods.paper import GRPO
from hsd_jax.methods.row import Method, View
from hsd_jax.reading.pieces import ANSWER, PEER, Attempts, Piece, Text, privileged


def right_and_wrong(right: Piece, wrong: Piece) -> tuple[tuple[str, View], ...]:
    """The teacher's weights after either hint; both are needed."""
    return (("teacher", View("teacher", privileged(right))), ("wrong", View("teacher", privileged(wrong))))


CONTRASTS: dict[str, Method] = {
    "sipo": replace(
        GRPO,
        source="arXiv:2609.36742, released code",
        views=right_and_wrong(replace(ANSWER, needed=True), Text("wrong_answer", needed=True)),
        policy_loss=losses.policy_gradient(0.2, 0.2, targets.added_evidence(0.5, 0.2)),
        advantage=advantages.centered,
        normalize=advantages.token_mean,
        teacher="synced",
        teacher_every=10,
        beta=0.0,
    ),
    "rlcsd": replace(
        GRPO,
        source="arXiv:2606.11709, released code",
        views=right_and_wrong(replace(PEER, needed=True), Attempts("failures", needed=True)),
        policy_loss=losses.policy_gradient(0.2, 0.2, targets.selected_evidence(0.5, 0.02, 0.02)),
        normalize=advantages.token_mean,
        teacher="synced",
        teacher_every=10,
        beta=0.0,
    ),
}

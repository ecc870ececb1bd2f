"""Teachers that move by a rule of what the run has seen, or that are held near where they began."""

from dataclasses import replace
from functools import partial

import jax.numpy as jnp

from hsd_jax import targets
from hsd_jax.divergence import jsd_logp
from hsd_jax.methods.paper import PAPER
from hsd_jax.methods.row import Memory, Method, Seen, View, teacher_reads
from hsd_jax.reading.pieces import PEER, privileged

FIRST = replace(PEER, rule="first")
GATED_MEMORY = tuple(
    (name, 0.0) for name in ("renew", "updates", "since", "reward", "length", "reward_at", "length_at")
)


def consolidated(memory: Memory, seen: Seen) -> Memory:
    """Renews the teacher once 10 updates are past, reward has gained .01 and responses have not grown by a fifth.

    Reward and length (95th percentile) are moving averages (.9), compared with those of the last renewal; thresholds
    and period are ours, unpublished. Source: arXiv:2606.03532.
    """
    start, since = memory["updates"] == 0, memory["since"] + 1
    now = {name: jnp.where(start, seen[name], 0.9 * memory[name] + 0.1 * seen[name]) for name in ("reward", "length")}
    at = {name: jnp.where(start, now[name], memory[f"{name}_at"]) for name in now}
    gained = (now["reward"] > at["reward"] + 0.01) & (now["length"] <= 1.2 * at["length"])
    renew = gained & (since >= 10)
    kept = {f"{name}_at": jnp.where(renew, now[name], at[name]) for name in now}
    since = jnp.where(renew, 0.0, since)
    return {"renew": renew.astype(jnp.float32), "updates": memory["updates"] + 1, "since": since, **now, **kept}


SCHEDULED: dict[str, Method] = {
    "cgtr": replace(
        PAPER["sdpo"],
        source="arXiv:2606.03532 (our reading)",
        teacher="gated",
        remember=consolidated,
        memory=GATED_MEMORY,
    ),
    "sdpo_trust_region": replace(
        PAPER["sdpo"],
        source="arXiv:2601.20802, its trust region",
        views=(*teacher_reads(FIRST), ("still", View("reference", privileged(FIRST)))),
        divergence=targets.trust_region(0.05, partial(jsd_logp, alpha=0.5)),
        old_policy="none",
        teacher="live",
    ),
}

"""Which rollouts of its own group are read beside each rollout: the first few by masked scores."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from hsd_jax.types import SUCCESS, Array, Rollouts

NO_PEER = -1

# How the successful rollouts are ranked (higher is preferred): (keys_P, scores_PG) -> ranks_PG. The maximum of
# Gumbel noise is a uniform draw; the noise of a question depends on its own key alone, so that neither the other
# questions of the batch nor the number of hosts can change it.
RULES: dict[str, Callable[[Array, Array], Array]] = {
    "uniform": lambda keys_P, scores_PG: _gumbel(keys_P, scores_PG.shape[1:]),
    "first": lambda keys_P, scores_PG: jnp.broadcast_to(-_index_1G(scores_PG), scores_PG.shape),
    "lowest": lambda keys_P, scores_PG: -scores_PG,
    "highest": lambda keys_P, scores_PG: scores_PG,
}


# The rules a config may name, each the ranking that it is and what it ranks by.
PEER_RANKINGS = {
    "uniform": "uniform",
    "first": "first",
    "shortest": "lowest",
    "longest": "highest",
    "low_perplexity": "lowest",
    "high_perplexity": "highest",
    "rarest": "lowest",
    "farthest": "lowest",
}
PER_ROLLOUT = ("farthest",)  # rules by which each rollout ranks the successes in its own way: up to G peers in a group
BUCKETS = 4096  # of pairs of neighboring tokens


def peer_scores(rule: str, rollouts: Rollouts, allowed_PG: Array) -> Array:
    """What the rule ranks by: response length, log perplexity (mean negative log-probability, nats), or likeness.

    For "rarest" the likeness of a rollout to the others that may be read, its mean; for "farthest" that of rollout i to
    rollout j [P, G, G].
    """
    if rule == "farthest":
        return likeness(rollouts)
    if rule == "rarest":
        others_PGG = allowed_PG[:, None, :] & ~jnp.eye(allowed_PG.shape[1], dtype=bool)[None]
        return jnp.sum(likeness(rollouts) * others_PGG, axis=2) / jnp.maximum(jnp.sum(others_PGG, axis=2), 1)
    if rule in ("shortest", "longest"):
        return rollouts.length_PG
    return -jnp.sum(rollouts.logprob_PGT, axis=2) / jnp.maximum(rollouts.length_PG, 1)


def likeness(rollouts: Rollouts) -> Array:
    """How alike the responses of a group are [P, G, G]: the cosine of their counts of pairs of neighboring tokens.

    Pairs are hashed into `BUCKETS`: a few that meet by chance matter little beside hundreds.
    """
    left_PGT, right_PGT = (rollouts.response_PGT.astype(jnp.uint32)[..., cut] for cut in (slice(-1), slice(1, None)))
    mixed_PGT = (left_PGT * jnp.uint32(0x9E3779B1) + right_PGT) * jnp.uint32(0x85EBCA77)
    bucket_PGT = (mixed_PGT >> 16) % BUCKETS
    inside_PGT = jnp.arange(1, rollouts.response_PGT.shape[2])[None, None, :] < rollouts.length_PG[..., None]

    def counted(bucket_T: Array, inside_T: Array) -> Array:
        return jnp.zeros(BUCKETS).at[bucket_T].add(inside_T.astype(jnp.float32))

    counts_PGX = jax.vmap(jax.vmap(counted))(bucket_PGT, inside_PGT)
    unit_PGX = counts_PGX / jnp.maximum(jnp.linalg.norm(counts_PGX, axis=2, keepdims=True), 1e-9)
    return jnp.einsum("pgx,phx->pgh", unit_PGX, unit_PGX, precision=jax.lax.Precision.HIGHEST)


def select_peers(
    key: Array,
    allowed_PG: Array,
    *,
    rule: str = "uniform",
    draws: str = "coupled",
    count: int = 1,
    scores_PG: Array | None = None,
) -> Array:
    """The `count` rollouts of its group that each rollout reads, int32 [P, G, count]; -1 where there are not as many.

    S_i are the allowed rollouts but i itself; `allowed_PG` is bool, or levels: the highest first, 0 is never read. What
    rollout i reads is a uniform draw from S_i without replacement (or the best of S_i by `scores_PG`, which has a row
    for each rollout [P, G, G] where they rank in their own ways). `key` is one PRNG key, or one per problem [P]. With
    draws="coupled" a group has at most count + 1 distinct sets: of count + 1 rollouts drawn in order without
    replacement everyone reads the first, and each of these all but itself; every marginal stays uniform on S_i.

    Raises: ValueError for an unknown rule or kind of draw, a ranking rule without scores, or scores that do not fit.
    Source: arXiv:2606.15576, Eq. 9.
    """
    if rule not in RULES or draws not in DRAWS:
        raise ValueError(
            f"peers: rule must be one of {list(RULES)} and draws one of {list(DRAWS)}; got {rule}, {draws}"
        )
    if rule in ("lowest", "highest") and scores_PG is None:
        raise ValueError(f"peers: rule {rule!r} ranks by scores_PG (lengths or perplexities); got none")
    if scores_PG is not None and scores_PG.ndim == 3 and draws != "independent":
        raise ValueError(f"peers: each rollout ranks by its own scores, which needs independent draws; got {draws!r}")
    groups = allowed_PG.shape[0]
    keys_P = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(groups)) if key.ndim == 0 else key
    scores_PG = jnp.zeros(allowed_PG.shape) if scores_PG is None else scores_PG.astype(jnp.float32)
    ranks = RULES[rule] if allowed_PG.dtype == bool else by_level(RULES[rule], allowed_PG)
    return DRAWS[draws](ranks, keys_P, allowed_PG > 0, scores_PG, count)


def allowed(outcome: str, rewards_PG: Array, readable_PG: Array) -> Array:
    """Which rollouts a set of this outcome may hold [P, G]; `readable_PG` are those that may be read at all."""
    success_PG = successful(rewards_PG)
    if outcome == "failures_first":
        return jnp.where(readable_PG, 2 - success_PG.astype(jnp.int32), 0)
    of_outcome_PG = {"successes": success_PG, "failures": ~success_PG, "any": jnp.ones_like(success_PG)}[outcome]
    return of_outcome_PG & readable_PG


def by_level(rule: Callable[[Array, Array], Array], level_PG: Array) -> Callable[[Array, Array], Array]:
    """A rule that ranks those of a higher level above all others, and within a level as the rule does."""

    def ranks(keys_P: Array, scores_PG: Array) -> Array:
        place_PG = jnp.argsort(jnp.argsort(rule(keys_P, scores_PG), axis=1), axis=1)
        return place_PG + level_PG * scores_PG.shape[1]

    return ranks


def successful(rewards_PG: Array) -> Array:
    """Which rollouts succeeded (shaping happens after this)."""
    return rewards_PG > SUCCESS


def free_of(control_ids: Sequence[int], rollouts: Rollouts) -> Array:
    """Which rollouts hold none of these ids before the stop id that ends them, bool [P, G]: only they may be read."""
    text_PG = rollouts.length_PG - rollouts.finished_PG.astype(jnp.int32)
    inside_PGT = jnp.arange(rollouts.response_PGT.shape[2])[None, None, :] < text_PG[..., None]
    control_PGT = jnp.isin(rollouts.response_PGT, np.array(control_ids, np.int32))
    return ~jnp.any(inside_PGT & control_PGT, axis=2)


def coupled_draws(rule: Callable, keys_P: Array, allowed_PG: Array, scores_PG: Array, count: int) -> Array:
    """At most count + 1 sets in a group: the best ones for all, and for each of these the next in its own place."""
    drawn_PK = _best(jnp.where(allowed_PG, rule(keys_P, scores_PG), -jnp.inf), count + 1)
    is_drawn_PGK = _index_1G(scores_PG)[..., None] == drawn_PK[:, None, :]
    behind_itself_PGK = jnp.cumsum(is_drawn_PGK, axis=2)[..., :count] > 0
    return jnp.where(behind_itself_PGK, drawn_PK[:, None, 1:], drawn_PK[:, None, :count])


def independent_draws(rule: Callable, keys_P: Array, allowed_PG: Array, scores_PG: Array, count: int) -> Array:
    """One draw for every rollout: up to G sets in a group."""
    group = scores_PG.shape[1]
    keys_PG = jax.vmap(lambda key: jax.random.split(key, group))(keys_P)
    ranks_PGG = jax.vmap(rule, (1, 1 if scores_PG.ndim == 3 else None), 1)(keys_PG, scores_PG)
    allowed_PGG = allowed_PG[:, None, :] & ~jnp.eye(group, dtype=bool)[None]
    return _best(jnp.where(allowed_PGG, ranks_PGG, -jnp.inf), count)


def others_successful(success_PG: Array) -> Array:
    """|S_i|: how many other rollouts of the group succeeded, int32 [P, G]."""
    return jnp.sum(success_PG, axis=1, keepdims=True, dtype=jnp.int32) - success_PG.astype(jnp.int32)


def coverage(success_PG: Array) -> Array:
    """Pr[|S_i| > 0]: share of rollouts that have a successful peer. Source: arXiv:2606.15576, Eq. 12."""
    return jnp.mean(others_successful(success_PG) > 0, dtype=jnp.float32)


def _best(ranks: Array, count: int) -> Array:
    """The indices of the highest ranks along the last axis, int32 [.., count]; -1 where a rank is -inf."""
    fill = [(0, 0)] * (ranks.ndim - 1) + [(0, max(count - ranks.shape[-1], 0))]
    best, index = jax.lax.top_k(jnp.pad(ranks.astype(jnp.float32), fill, constant_values=-jnp.inf), count)
    return jnp.where(best > -jnp.inf, index, NO_PEER).astype(jnp.int32)


def _index_1G(scores_PG: Array) -> Array:
    return jnp.arange(scores_PG.shape[1])[None, :]


def _gumbel(keys_P: Array, shape: tuple[int, ...]) -> Array:
    return jax.vmap(lambda key: jax.random.gumbel(key, shape))(keys_P)


DRAWS: dict[str, Callable[..., Array]] = {"coupled": coupled_draws, "independent": independent_draws}

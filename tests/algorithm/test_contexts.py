"""Contexts: ids in = ids out, no pad inside, only the peer's tail is ever cut."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hsd_jax.methods.view_options import READS
from hsd_jax.reading.contexts import Chosen, TeacherInputs, Window, _distinct, read_contexts, student_contexts
from hsd_jax.reading.peers import select_peers
from hsd_jax.reading.pieces import ANSWER as ANSWER_CUE
from hsd_jax.reading.pieces import PEER, Reads, privileged, reads_block
from hsd_jax.reading.ragged import splice
from hsd_jax.types import Contexts, Problems, Rollouts
from tests.support.padding import fixed_texts, right_padded, right_padded_groups

STOP = 9
INDEPENDENT = replace(PEER, draws="independent")


HEAD, ANSWER, SOLUTION, TAIL = [[1, 2, 3], [4]], [[5, 6], []], [[], [7, 7]], [[8, 8], [8]]
FEEDBACK = [[[11], [], [12, 13]], [[14], [15, 16], []]]
OPEN, CLOSE, CLOSING = [20], [21, 22], [23]
PROBLEMS = Problems(
    id_P=jnp.asarray([3, 4], jnp.uint32),
    prefix=right_padded(HEAD, 4),
    answer=right_padded(ANSWER, 3),
    solution=right_padded(SOLUTION, 2),
    feedback=right_padded_groups(FEEDBACK, 2),
    wrong_answer=right_padded_groups(FEEDBACK, 2),
    suffix=right_padded(TAIL, 2),
    limit_P=jnp.asarray([6, 6]),
)
FRAME = fixed_texts(peer_open=OPEN, peer_close=CLOSE, closing=CLOSING)
RESPONSES = [[[31, 32, STOP], [33, 34, 35, 36], [37, STOP]], [[41, 42, 43, STOP], [44, STOP], [45]]]
FINISHED = [[True, False, True], [True, True, False]]
ROLLOUTS = Rollouts(
    response_PGT=right_padded_groups(RESPONSES, 6).tokens,
    length_PG=right_padded_groups(RESPONSES, 6).length,
    finished_PG=jnp.asarray(FINISHED),
    logprob_PGT=jnp.zeros((2, 3, 6)),
)


build = jax.jit(read_contexts, static_argnames="reads")


def built(
    reads: Reads, peers: list[list[int]] | jax.Array, *, rollouts: Rollouts = ROLLOUTS, **room: int
) -> tuple[Contexts, TeacherInputs]:
    """The contexts where every rollout has this one peer."""
    chosen = Chosen(dict.fromkeys([PEER, INDEPENDENT], jnp.asarray(peers)[..., None]), {})
    return build(reads=reads, problems=PROBLEMS, frame=FRAME, rollouts=rollouts, chosen=chosen, window=Window(**room))


def expected(p: int, i: int, peer: int, reads: Reads, width: int, least: int) -> list[int]:
    said, answer, solution = (
        text if reads_block(reads, block) else []
        for block, text in (("feedback", FEEDBACK[p][i]), ("answer", ANSWER[p]), ("solution", SOLUTION[p]))
    )
    before = HEAD[p] + answer + solution
    after = CLOSING + TAIL[p]
    if peer < 0 or PEER not in reads:
        return before + said + after
    text = RESPONSES[p][peer][:-1] if FINISHED[p][peer] else RESPONSES[p][peer]
    room = width - len(before + OPEN + CLOSE + after)
    return before + said + after if room < min(least, len(text)) else before + OPEN + text[:room] + CLOSE + after


@pytest.mark.parametrize("width", [24, 14, 13, 12, 11, 9])
@pytest.mark.parametrize(
    "reads",
    [READS[name] for name in ("answer_and_peer", "peer", "solution", "feedback", "peer_or_feedback")],
)
@pytest.mark.parametrize("peers", [[[1, 0, 1], [-1, -1, -1]], [[2, 2, 0], [1, -1, 1]]])
def test_every_rollout_reads_the_ids_it_should(width: int, reads: Reads, peers: list[list[int]]) -> None:
    contexts, read = built(
        reads,
        peers,
        width=width,
        min_peer_tokens=3,
    )
    for p in range(2):
        for i in range(3):
            m = int(contexts.context_index_PG[p, i])
            length = int(contexts.length_PM[p, m])
            ids = expected(p, i, peers[p][i], reads, width, 3)
            assert contexts.tokens_PMC[p, m, :length].tolist() == ids
            assert not contexts.tokens_PMC[p, m, length:].any()
            assert bool(read.has_peer_PG[p, i]) == (OPEN[0] in ids)
            assert bool(read.has_context_PG[p, i]) == (ids != HEAD[p] + CLOSING + TAIL[p])
            full = expected(p, i, peers[p][i], reads, 1000, 3)
            assert bool(read.peer_truncated_PG[p, i]) == (bool(read.has_peer_PG[p, i]) and ids != full)


def test_unused_contexts_are_empty_and_independent_peers_get_their_own() -> None:
    contexts, _ = built(
        privileged(ANSWER_CUE, INDEPENDENT),
        [[1, 2, 0], [-1, -1, -1]],
        width=24,
    )
    assert len(set(contexts.context_index_PG[0].tolist())) == 3
    assert (contexts.length_PM[1] > 0).tolist() == [True, False, False]


def distinct(peers: list[list[int]], reads: Reads, rollouts: Rollouts = ROLLOUTS, width: int = 24) -> list[int]:
    """How many contexts of each group have any tokens; all that are read are among them."""
    contexts, _ = built(reads, peers, rollouts=rollouts, width=width)
    lengths = jnp.take_along_axis(contexts.length_PM, contexts.context_index_PG, axis=1)
    assert int(lengths.min()) > 0
    return (contexts.length_PM > 0).sum(axis=1).tolist()


def test_contexts_of_the_same_content_are_one() -> None:
    peers = [[1, 2, 1], [1, -1, 1]]
    assert distinct(peers, READS["answer_and_peer"]) == [2, 2]
    assert distinct(peers, READS["answer"]) == [1, 1]  # who reads no peer reads the same, peer or not
    assert distinct(peers, READS["answer_and_peer"], width=9) == [1, 2]  # in the first group no peer fits
    twins = jax.tree.map(lambda x: jnp.stack([jnp.asarray(x)[0][jnp.array([0, 1, 1])], x[1]]), ROLLOUTS)
    assert distinct(peers, READS["answer_and_peer"], twins) == [1, 2]
    nobody = [[-1, -1, -1], [-1, -1, -1]]
    assert distinct(nobody, READS["feedback"]) == [3, 3]
    assert distinct([[1, -1, 1], [0, 0, -1]], READS["peer_or_feedback"]) == [2, 2]


def test_sets_of_any_size_are_told_apart() -> None:
    """Eight of sixteen are more lists than a 32-bit number can count."""
    drawn = np.random.default_rng(0).permuted(np.tile(np.arange(16, dtype=np.int32), (2, 12, 1)), axis=2)[..., :8]
    peers_PGK = np.concatenate([drawn, drawn[:, :4]], axis=1)
    lists_PMK, of_PG = _distinct(jnp.asarray(peers_PGK), 16)
    np.testing.assert_array_equal(np.take_along_axis(lists_PMK, of_PG[..., None], axis=1), peers_PGK)
    np.testing.assert_array_equal(of_PG[:, 12:], of_PG[:, :4])
    assert (lists_PMK[:, 12:] == -1).all(), "nobody reads these"


def test_the_student_reads_the_question_alone() -> None:
    contexts = student_contexts(PROBLEMS, 8, 3)
    for p in range(2):
        assert contexts.tokens_PMC[p, 0, : contexts.length_PM[p, 0]].tolist() == HEAD[p] + TAIL[p]
    assert contexts.context_index_PG.tolist() == [[0, 0, 0]] * 2


def test_student_and_teacher_end_in_the_same_ids() -> None:
    rewards = jnp.asarray([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    peers = select_peers(jax.random.key(0), rewards > 0)
    contexts, _ = built(
        READS["answer_and_peer"],
        peers[..., 0],
        width=24,
    )
    for p in range(2):
        for m in set(contexts.context_index_PG[p].tolist()):
            row = contexts.tokens_PMC[p, m, : contexts.length_PM[p, m]].tolist()
            assert row[-len(TAIL[p]) :] == TAIL[p]


def test_splice_cuts_at_the_window() -> None:
    window = splice([right_padded([[1, 2]], 3), right_padded([[3, 4, 5]], 3)], 4)
    assert window.tokens.tolist() == [[1, 2, 3, 4]] and window.length.tolist() == [4]

"""The rollout log: some problems of a step with texts, rewards, peers, the very teacher text and per-token credit."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from etils import epath

from hsd_jax.data.problems import Problem
from hsd_jax.rollout.grading import GradedBatch
from hsd_jax.runtime import files, multihost
from hsd_jax.types import Rollouts

PER_TOKEN = ("credit", "kl", "student_logprob", "teacher_logprob", "student_entropy", "teacher_entropy")


def entries(
    step: int,
    problems: Sequence[Problem],
    rollouts: Rollouts,
    graded: GradedBatch,
    trace: Any,
    tokenizer: Any,
) -> list[dict[str, Any]]:
    """One JSON object per problem; `trace` is a `Trace` of host arrays that begin with these problems."""
    return [
        {
            "step": step,
            "question_id": problem.id,
            "source": problem.source,
            "question": problem.question,
            "answer": problem.answer,
            "difficulty": problem.difficulty,
            "contexts": _contexts(trace, p, tokenizer),
            "rollouts": [
                _rollout(p, i, rollouts, graded, trace, tokenizer) for i in range(rollouts.length_PG.shape[1])
            ],
        }
        for p, problem in enumerate(problems)
    ]


def write(folder: epath.Path, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes `step-000010.jsonl`, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    _replace(folder, step, "".join(json.dumps(row) + "\n" for row in rows))


def write_together(folder: epath.Path, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
    """As `write`, with the rows of all processes in their order; rows travel through the folder that all share."""
    if jax.process_count() == 1:
        write(folder, step, rows)
        return
    folder.mkdir(parents=True, exist_ok=True)
    pieces = [folder / f"step-{step:06d}.{process}.part" for process in range(jax.process_count())]
    if rows:
        pieces[jax.process_index()].write_text("".join(json.dumps(row) + "\n" for row in rows))
    counts = multihost.gather(f"rollouts/{step}", len(rows))
    if jax.process_index() == 0:
        written = [piece for piece, count in zip(pieces, counts, strict=True) if count]
        _replace(folder, step, "".join(piece.read_text() for piece in written))
        for piece in written:
            piece.unlink()


def _replace(folder: epath.Path, step: int, text: str) -> None:
    files.replace(folder / f"step-{step:06d}.jsonl", text)


def _contexts(trace: Any, p: int, tokenizer: Any) -> list[str]:
    if not trace.inputs.views:
        return []
    tokens_MC, length_M = trace.inputs.views[0].tokens_PMC[p], trace.inputs.views[0].length_PM[p]
    return [tokenizer.decode(ids[:n]) for ids, n in zip(tokens_MC.tolist(), length_M.tolist(), strict=True)]


def _rollout(
    p: int,
    i: int,
    rollouts: Rollouts,
    graded: GradedBatch,
    trace: Any,
    tokenizer: Any,
) -> dict[str, Any]:
    length = int(rollouts.length_PG[p, i])
    ids = np.asarray(rollouts.response_PGT[p, i, :length]).tolist()
    verdict = graded.verdicts[p][i]
    weight = float(trace.weights_PGT[p, i].sum())
    row: dict[str, Any] = {
        "text": graded.texts[p][i],
        "tokens": [tokenizer.decode([t]) for t in ids],
        "token_ids": ids,
        "reward": verdict.reward,
        "reason": verdict.reason,
        "extracted": verdict.extracted,
        "finished": bool(rollouts.finished_PG[p, i]),
        "peer": int(trace.inputs.read.peer_PG[p, i]),
        "context": int(trace.inputs.views[0].context_index_PG[p, i]) if weight else -1,
        "divergence": int(trace.divergence_PG[p, i]),
        "weight": weight,
    }
    row |= {name: _rounded(trace.stats[name][p, i, :length]) for name in PER_TOKEN if name in trace.stats}
    for who in ("student", "teacher"):
        if f"top_ids_{who}" in trace.stats:
            ids_T, probs_T = (trace.stats[f"top_{what}_{who}"][p, i, :length] for what in ("ids", "probs"))
            row[f"top_{who}"] = _tops(ids_T, probs_T, tokenizer)
    return row


def _tops(ids_T3: np.ndarray, probs_T3: np.ndarray, tokenizer: Any) -> list[list[list[Any]]]:
    return [
        [[tokenizer.decode([t]), round(p, 4)] for t, p in zip(ids, probs, strict=True)]
        for ids, probs in zip(ids_T3.tolist(), probs_T3.tolist(), strict=True)
    ]


def _rounded(values: np.ndarray) -> list[float]:
    return np.round(np.asarray(values, np.float64), 4).tolist()

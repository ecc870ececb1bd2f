"""Makes workdirs as a training run leaves them, in the format of the rollout log, without any model.

Rollouts of a group share a beginning and part at a random token, where credit spikes; chance and seed decide all.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

WORDS = (
    "We", " need", " the", " sum", " of", " 3", " and", " 4", ":", "\n", " so", " 7", "+", "5", "=", " 12", ";",
    " then", " wait", ",", " check", " modulo", " 10", " 2", ".", " Next", " digit", " is", " 9", " Therefore",
    " \\boxed{", "}",
)  # fmt: skip
STOP = "<|im_end|>"
REASONS = ("correct", "wrong", "no_answer", "timeout")


def make_workdir(
    path: Path, *, steps: int = 4, problems: int = 3, group: int = 8, length: int = 60, seed: int = 0, every: int = 10
) -> Path:
    """A finished run: configuration, `steps` · `every` records of metrics, and a rollout log every `every` steps."""
    rng = np.random.default_rng(seed)
    (path / "rollouts").mkdir(parents=True)
    config = {
        "config": {
            "method": {"name": "hsd"},
            "model": {"path": "assets/tiny_qwen3"},
            "data": {"source": "tiny"},
            "sampling": {"group_size": group},
            "steps": steps * every,
        },
        "versions": {"jax": "0.10.2"},
        "commit": "0123456789abcdef",
        "command": ["python", "-m", "hsd_jax.train"],
    }
    (path / "config.json").write_text(json.dumps(config))
    records = [metrics(step, steps * every, group, rng) for step in range(1, steps * every + 1)]
    (path / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    for step in range(every, steps * every + 1, every):
        rate = 0.25 + 0.6 * step / (steps * every)
        lines = [problem(step, index, group, length, rate, rng) for index in range(problems)]
        write_groups(path, step, lines)
    return path


def write_groups(path: Path, step: int, groups: list[dict[str, Any]]) -> Path:
    """One file of the rollout log."""
    (path / "rollouts").mkdir(parents=True, exist_ok=True)
    target = path / "rollouts" / f"step-{step:06d}.jsonl"
    target.write_text("".join(json.dumps(group) + "\n" for group in groups))
    return target


def problem(step: int, index: int, group: int, length: int, rate: float, rng: np.random.Generator) -> dict[str, Any]:
    """One line of the rollout log."""
    difficulty = float(rng.choice([0.15, 0.5, 0.85]))
    solved = rng.random(group) < np.clip(rate + difficulty - 0.5, 0.03, 0.97)
    shared = [WORDS[rng.integers(len(WORDS))] for _ in range(length)]
    question = f"What is {rng.integers(9)}+{rng.integers(9)}-{rng.integers(9)}*{rng.integers(9)}, modulo 10?"
    parts = [int(rng.integers(4, max(6, length // 2))) for _ in range(group)]
    texts = [_tokens(shared, part, length, good, rng) for part, good in zip(parts, solved, strict=True)]
    rollouts = [_rollout(i, texts, solved, rng) for i in range(group)]
    peer_text = "".join(texts[int(np.argmax(solved))]).removesuffix(STOP)
    contexts = [
        f"<|im_start|>user\n{question}\n\n=== Reference answer ===\n{index % 10}\n=== End of reference answer ===\n\n"
        f"=== A correct attempt ===\n{peer_text}\n=== End of correct attempt ===\n\nWork through the original "
        "problem yourself.\n<|im_end|>\n<|im_start|>assistant\n",
        f"<|im_start|>user\n{question}\n\n=== Reference answer ===\n{index % 10}\n=== End of reference answer ===\n\n"
        "Work through the original problem yourself.\n<|im_end|>\n<|im_start|>assistant\n",
    ]
    return {
        "step": step, "question_id": f"tiny-{step:04d}-{index:03d}", "source": "tiny", "question": question,
        "answer": str(index % 10), "difficulty": difficulty, "contexts": contexts, "rollouts": rollouts,
    }  # fmt: skip


def metrics(step: int, last: int, group: int, rng: np.random.Generator) -> dict[str, Any]:
    """One record of metrics.jsonl of a run that goes well."""
    done = step / last
    rate = 0.32 + 0.55 * (1 - np.exp(-3 * done)) + 0.02 * rng.standard_normal()
    noise = lambda size: float(size * rng.standard_normal())  # noqa: E731
    record = {
        "step": step, "loss": 0.09 * np.exp(-2 * done) + 0.01 + noise(0.004), "reward": float(rate),
        "coverage": float(1 - (1 - rate) ** (group - 1)) - 0.05, "fallback": 0.05 + abs(noise(0.01)), "masked": 0.0,
        "peer_truncated": 0.0, "grad_norm": 0.8 + abs(noise(0.2)), "response_length": 58 + noise(2), "truncated": 0.02,
        "kl_reference": 0.08 * done + abs(noise(0.004)), "entropy": 0.42 - 0.2 * done + noise(0.01),
        "teacher_entropy": 0.30 - 0.03 * done + noise(0.005), "divergence": 18 + noise(1),
        "credit_mass_8": 0.7 + noise(0.03),
        "credit_at_divergence": 2.1, "credit_before_divergence": 0.05, "kl_by_position": [0.1] * 20,
        "repeated_ngrams": 0.03, "hedging": 4 + noise(0.3), "time/sample": 0.9 + noise(0.04), "time/grade": 0.05,
        "time/update": 0.7 + noise(0.03), "time/step": 1.72, "recompilations": 0, "verdict/correct": 90,
        "verdict/wrong": 36,
        "verdict/no_answer": 2, "teacher_coherence": 0.86 + noise(0.01), "first_token_kl": 0.01,
    }  # fmt: skip
    if step == 1 or step % 10 == 0:
        record |= {"eval/pass@1": float(rate) - 0.01, "eval/greedy": min(1.0, float(rate) + 0.1)}
        record |= {f"eval/pass@{k}": float(1 - (1 - rate) ** k) for k in (4, 16)} | {"eval/right_paths": 3.0}
    return record


def _tokens(shared: list[str], part: int, length: int, solved: bool, rng: np.random.Generator) -> list[str]:
    size = int(rng.integers(max(part + 4, length * 2 // 3), length + 1))
    own = [WORDS[rng.integers(len(WORDS))] for _ in range(max(0, size - part - 4))]
    ending = [" \\boxed{", "7" if solved else "3", "}", STOP if rng.random() < 0.93 else " so"]
    return shared[:part] + own + ending


def _rollout(i: int, texts: list[list[str]], solved: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
    tokens, count = texts[i], len(texts[i])
    peers = [j for j in range(len(texts)) if solved[j] and j != i]
    peer = int(rng.choice(peers)) if peers else -1
    tau = _divergence(tokens, texts[peer]) if peer >= 0 else -1
    credit = rng.normal(0, 0.03, count) * (rng.random(count) < 0.6)
    if tau >= 0:
        after = np.arange(count) - tau
        credit += np.where(after >= 0, (0.45 if solved[i] else -2.6) * np.exp(-np.maximum(after, 0) / 2.5), 0)
        credit += np.where(after > 0, rng.normal(0, 0.16, count) * np.exp(-after.clip(0) / 25), 0)
    student = -np.abs(rng.gamma(0.5, 0.6, count)) - 0.001
    student = np.minimum(student, -0.001 - np.maximum(credit, 0))
    teacher = student + credit
    tops = [_top(token, np.exp(logprob), rng) for token, logprob in zip(tokens, student, strict=True)]
    teacher_tops = [_top(token, np.exp(logprob), rng) for token, logprob in zip(tokens, teacher, strict=True)]
    finished = tokens[-1] == STOP
    return {
        "text": "".join(tokens).removesuffix(STOP), "tokens": tokens, "token_ids": [len(token) for token in tokens],
        "reward": int(solved[i]), "reason": "correct" if solved[i] else REASONS[1 + int(rng.random() < 0.1)],
        "extracted": "7" if solved[i] else "3", "finished": finished, "peer": peer, "context": 0 if peer >= 0 else 1,
        "divergence": tau, "weight": 1 / len(texts), "credit": credit.tolist(), "kl": (credit**2 / 2).tolist(),
        "student_logprob": student.tolist(), "teacher_logprob": teacher.tolist(),
        "student_entropy": rng.gamma(1.2, 0.4, count).tolist(), "teacher_entropy": rng.gamma(1.0, 0.4, count).tolist(),
        "top_student": tops, "top_teacher": teacher_tops,
    }  # fmt: skip


def _divergence(own: list[str], peer: list[str]) -> int:
    """First place where the two differ; a response that is the other's beginning parts at its own end."""
    for place, (a, b) in enumerate(zip(own, peer, strict=False)):
        if a != b:
            return place
    return min(len(own), len(peer)) if len(own) != len(peer) else -1


def _top(token: str, chance: float, rng: np.random.Generator) -> list[list[Any]]:
    others = [WORDS[index] for index in rng.choice(len(WORDS), 2, replace=False)]
    left = 1 - chance
    items = [[token, float(chance)], [others[0], float(left * 0.6)], [others[1], float(left * 0.25)]]
    return sorted(items, key=lambda item: -item[1])

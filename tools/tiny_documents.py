"""Documents the tiny base model is pre-trained on: ways to read a problem, and one way to write a solution.

    policy     question                                  -> a solution with habitual errors and slips, loss on all of it
    answer     question, true answer                     -> the same: knowing the answer does not show the path
    feedback   question, what was wrong with an attempt  -> the same: nor does knowing a wrong one
    path       question, true answer, a correct attempt  -> slips are put in but carry no loss
    peer       question, a correct attempt               -> the same as path
    solution   question, a reference solution            -> the same as path

So the policy has habits that reinforcement can break: its greedy answer is wrong wherever it multiplies by 7 or 9, and
its samples are now and then right. The answer alone is a cue without a path, and a reader of a correct attempt
follows it while prefixes agree and goes on from what is really written after a slip. The base knows every context
that a method's teacher may read: none of them is at a disadvantage because its frame is new.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hsd_jax.data import chat_template, tiny
from hsd_jax.data.chat_template import ChatTemplate
from hsd_jax.rollout import feedback

RESULT_WEIGHT = 4.0
Encode = Callable[[str], list[int]]
Weighted = tuple[list[int], list[float]]
Document = tuple[list[int], list[Weighted]]
SHORT = ("policy", "answer", "feedback")
LONG = ("path", "peer", "solution")  # an attempt is read
Batch = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Mixture:
    """How many problems of each kind a batch has, and how often a step of a solution is wrong.

    Without an attempt, the steps `habits` are off by 1 with probability `habit`, others by anything with `policy_slip`.
    A problem is read once for all its `responses`. `windows` are the tokens of a context and of a response.
    """

    policy: int = 4
    answer: int = 1
    feedback: int = 1
    path: int = 2
    peer: int = 1
    solution: int = 1
    responses: int = 4
    habits: tuple[str, ...] = ("*7", "*9")
    habit: float = 0.65
    policy_slip: float = 0.06
    path_slip: float = 0.25
    operations: tuple[int, int] = tiny.OPERATIONS
    short_windows: tuple[int, int] = (88, 58)
    long_windows: tuple[int, int] = (148, 58)


def encoder(tokenizer: Any) -> Encode:
    """Text -> ids, by a transformers tokenizer."""
    return lambda text: tokenizer.encode(text, add_special_tokens=False)


def slips(rng: np.random.Generator, chain: tiny.Chain, mix: Mixture, *, attempt: bool) -> tuple[int, ...]:
    """For every step 0 (right) or a wrong offset: 1 by habit, else any in 1..9; who read an attempt has no habits."""
    steps = [operator + str(number) for operator, number in zip(chain.operators, chain.numbers[1:], strict=True)]
    habitual = np.isin(steps, () if attempt else mix.habits)
    wrong = rng.random(len(steps)) < np.where(habitual, mix.habit, mix.path_slip if attempt else mix.policy_slip)
    return tuple(int(e) for e in wrong * np.where(habitual, 1, rng.integers(1, 10, len(steps))))


def response(encode: Encode, chain: tiny.Chain, errors: tuple[int, ...], slip_weight: float) -> Weighted:
    """The ids of a solution with its stop id; results weigh RESULT_WEIGHT (wrong ones times `slip_weight`).

    Everything else weighs 1 and is learnt soon: arithmetic takes most of the training.
    """
    ids, weights = [], []
    lines = tiny.solution(chain, errors).split("\n")
    for line, error in zip(lines[:-1], errors, strict=True):
        ids += encode(line + "\n")
        weights += [1.0] * (len(ids) - len(weights))
        weights[-2] = RESULT_WEIGHT * (slip_weight if error else 1.0)
    ids += encode(lines[-1] + "<|im_end|>")
    return ids, weights + [1.0] * (len(ids) - len(weights))


def privileged(kind: str, chain: tiny.Chain, mix: Mixture, rng: np.random.Generator) -> dict[str, str]:
    """What a reader of this kind reads besides the question."""
    answer, solution = str(tiny.results(chain)[-1]), tiny.solution(chain)
    if kind == "feedback":
        return {"feedback": feedback.WRONG.format(wrong_answer(chain, mix, rng))}
    return {
        "answer": {"answer": answer},
        "path": {"answer": answer, "peer": solution},
        "peer": {"peer": solution},
        "solution": {"solution": solution},
    }[kind]


def student_pieces(frame: ChatTemplate, question: str, instruction: str) -> tuple[str, ...]:
    """The pieces of the prompt that the policy answers."""
    return chat_template.prefix(frame, question), chat_template.suffix(frame, instruction)


def teacher_pieces(
    frame: ChatTemplate, question: str, instruction: str, *, peer: str = "", **privileged: str
) -> tuple[str, ...]:
    """The pieces of a teacher's context; `privileged` are texts by the name of their block, in their order."""
    opens, closes = student_pieces(frame, question, instruction)
    known = [chat_template.block(name, text) for name, text in privileged.items()]
    attempt = (chat_template.PEER_OPEN, peer, chat_template.PEER_CLOSE) if peer else ()
    return opens, *known, *attempt, chat_template.CLOSING, closes


def wrong_answer(chain: tiny.Chain, mix: Mixture, rng: np.random.Generator) -> int:
    """The final answer of an attempt with slips that failed."""
    right = tiny.results(chain)[-1]
    while (given := tiny.results(chain, slips(rng, chain, mix, attempt=False))[-1]) == right:
        pass
    return given


def document(encode: Encode, frame: ChatTemplate, kind: str, mix: Mixture, rng: np.random.Generator) -> Document:
    """One problem read in the way of its kind: the ids of its context, and its responses."""
    chain = tiny.random_chain(rng, mix.operations)
    while tiny.split_of(chain) != "train":
        chain = tiny.random_chain(rng, mix.operations)
    problem = (frame, tiny.question(chain), chat_template.INSTRUCTIONS["math"])
    pieces = student_pieces(*problem)
    if kind != "policy":
        pieces = teacher_pieces(*problem, **privileged(kind, chain, mix, rng))
    errors = [slips(rng, chain, mix, attempt=kind in LONG) for _ in range(mix.responses)]
    slip_weight = 0.0 if kind in LONG else 1.0
    return [i for piece in pieces for i in encode(piece)], [response(encode, chain, e, slip_weight) for e in errors]


def pad(documents: list[Document], windows: tuple[int, int], pad_id: int) -> Batch:
    """Contexts padded on the left, so that all end at column `windows[0]`; responses padded on the right.

    Returns context_BC, its validity, response_BRT and weights_BRT.
    """
    shape = (len(documents), len(documents[0][1]), windows[1])
    context_BC = np.full((shape[0], windows[0]), pad_id, np.int32)
    valid_BC = np.zeros(context_BC.shape, bool)
    response_BRT, weights_BRT = np.full(shape, pad_id, np.int32), np.zeros(shape, np.float32)
    for row, (context, responses) in enumerate(documents):
        context_BC[row, windows[0] - len(context) :], valid_BC[row, windows[0] - len(context) :] = context, True
        for column, (ids, weights) in enumerate(responses):
            response_BRT[row, column, : len(ids)], weights_BRT[row, column, : len(ids)] = ids, weights
    return context_BC, valid_BC, response_BRT, weights_BRT


def batch(encode: Encode, frame: ChatTemplate, mix: Mixture, pad_id: int, seed: list[int]) -> tuple[Batch, Batch]:
    """One training step's documents: those without an attempt (short contexts), and those with one."""
    rng = np.random.default_rng(seed)
    short, long = (
        [document(encode, frame, kind, mix, rng) for kind in kinds for _ in range(getattr(mix, kind))]
        for kinds in (SHORT, LONG)
    )
    return pad(short, mix.short_windows, pad_id), pad(long, mix.long_windows, pad_id)

"""What different teacher contexts say of the same rollouts of the untrained tiny model: credit by token, for each view.

The rollouts are answers of an evaluation (`python -m hsd_jax.evaluate`), a question's first `GROUP` of them a group.
A view is the text that a teacher reads; texts are those of the methods and their controls (docs/methods.md). What does
not exist for a rollout (no success to read, no failure) is left out, never filled.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hsd_jax.data import chat_template, tiny
from hsd_jax.setup.tokenizer import read_tokenizer
from models import hf
from models.qwen3 import Params, Qwen3Config, forward, logits, params_of
from tools.tiny_documents import teacher_pieces

MODEL = Path("assets/tiny_qwen3")
GROUP, WINDOW, ROWS = 8, 256, 128
INSTRUCTION = chat_template.INSTRUCTIONS["math"]
NO_PEER = -1


@dataclass(frozen=True)
class Group:
    """A question's rollouts: texts and whether each is right; `answer` is the true one, `path` a right solution."""

    question: str
    answer: str
    path: str
    texts: tuple[str, ...]
    right: tuple[bool, ...]


Texts = Mapping[str, str]
View = Callable[[Group, int, Sequence[Group]], Texts | None]


def peer_of(group: Group, i: int, *, right: bool = True) -> int:
    """The first other rollout that is right (or wrong) behind `i`, around the group; -1: none."""
    around = [(i + step) % len(group.texts) for step in range(1, len(group.texts))]
    return next((j for j in around if group.right[j] == right), NO_PEER)


def _peer(group: Group, i: int, others: Sequence[Group], *, right: bool = True, answer: bool = True) -> Texts | None:
    j = peer_of(group, i, right=right)
    texts = {"answer": group.answer} if answer else {}
    return None if j == NO_PEER else texts | {"peer": group.texts[j]}


def _other_problem(group: Group, i: int, others: Sequence[Group]) -> Texts | None:
    """A success of another question, nearest in length, in the words of the peer."""
    found = [text for o in others if o is not group for text, right in zip(o.texts, o.right, strict=True) if right]
    return (
        {"answer": group.answer, "peer": min(found, key=lambda t: abs(len(t) - len(group.texts[i])))} if found else None
    )


def _results(count: int) -> View:
    """The last results of the right path in place of the answer: the more of them, the less terse."""

    def view(group: Group, i: int, others: Sequence[Group]) -> Texts:
        lines = group.path.split("\n")[:-1]
        return {"answer": " ".join(line.rsplit("=", 1)[1] for line in lines[-count:])}

    return view


VIEWS: dict[str, View] = {
    "answer and correct peer (hsd)": _peer,
    "correct peer (sdpo)": partial(_peer, answer=False),
    "answer (opsd)": lambda group, i, others: {"answer": group.answer},
    "wrong peer, called correct": partial(_peer, right=False),
    "another problem's peer, called this one's": _other_problem,
    "the wrapper alone": lambda group, i, others: {"answer": "", "peer": ""},
    "the rollout itself": lambda group, i, others: {"answer": group.answer, "peer": group.texts[i]},
    "last 2 results": _results(2),
    "last 4 results": _results(4),
    "all results": _results(99),
    "reference solution": lambda group, i, others: {"solution": group.path},
}


def read_groups(answers: Path, count: int) -> list[Group]:
    """The first `count` questions of an evaluation of the tiny task."""
    groups = []
    for line in answers.read_text(encoding="utf-8").splitlines()[:count]:
        one = json.loads(line)
        expression = one["id"].split("-", 2)[2]
        chain = chain_of(expression)
        texts, right = tuple(one["texts"][:GROUP]), tuple(reward > 0.5 for reward in one["rewards"][:GROUP])
        groups.append(Group(tiny.question(chain), str(tiny.results(chain)[-1]), tiny.solution(chain), texts, right))
    return groups


def chain_of(expression: str) -> tiny.Chain:
    """The chain that an expression writes; operands are single digits."""
    return tiny.Chain(tuple(int(digit) for digit in expression[::2]), expression[1::2])


@partial(jax.jit, static_argnames="config")
def _log_probs(config: Qwen3Config, params: Params, tokens_BS: jax.Array, length_B: jax.Array) -> jax.Array:
    """log p(. | before) at every position [B, S, V]."""
    valid_BS = jnp.arange(tokens_BS.shape[1])[None] < length_B[:, None]
    return jax.nn.log_softmax(logits(params, forward(config, params, tokens_BS, valid_BS)))


@dataclass(frozen=True)
class Reader:
    """The model with its tokenizer; `before` turns privileged texts into the ids of a prompt."""

    config: Qwen3Config
    params: Params
    tokenizer: Any
    frame: chat_template.ChatTemplate

    def ids(self, text: str) -> list[int]:
        """Ids of a text without anything added."""
        return self.tokenizer.encode(text, add_special_tokens=False)

    def before(self, question: str, texts: Texts) -> list[int]:
        """The ids of a context; no texts: the student's prompt, an empty peer or answer: the words around it."""
        if not texts:
            opens, closes = chat_template.prefix(self.frame, question), chat_template.suffix(self.frame, INSTRUCTION)
            return [*self.ids(opens), *self.ids(closes)]
        opens, *inner, closes = teacher_pieces(self.frame, question, INSTRUCTION, **texts)
        if texts.get("answer") == "":
            words = (chat_template.PEER_OPEN, chat_template.PEER_CLOSE) if "peer" in texts else ()
            inner = [chat_template.empty_block("answer"), *words, chat_template.CLOSING]
        return [i for piece in (opens, *inner, closes) for i in self.ids(piece)]

    def scores(self, rows: Sequence[tuple[list[int], list[int]]]) -> Iterator[np.ndarray]:
        """For each (context, response) the log-probabilities [T, V] at the response's tokens."""
        for start in range(0, len(rows), ROWS):
            part = rows[start : start + ROWS]
            tokens, lengths = np.zeros((ROWS, WINDOW), np.int32), np.ones(ROWS, np.int32)
            for row, (context, response) in enumerate(part):
                lengths[row] = len(context) + len(response)
                tokens[row, : lengths[row]] = context + response
            found = np.asarray(_log_probs(self.config, self.params, tokens, lengths))
            for row, (context, response) in enumerate(part):
                yield found[row, len(context) - 1 : len(context) + len(response) - 1]


def open_reader(path: Path = MODEL) -> Reader:
    """The untrained model."""
    tokenizer, model = read_tokenizer(str(path)), hf.load(path)
    return Reader(model.config, params_of(model), tokenizer, chat_template.load_chat_template(tokenizer))


def divergence_of(response: Sequence[int], peer: Sequence[int]) -> int:
    """The first token that differs from the peer's; -1: none within both."""
    return next((t for t, (a, b) in enumerate(zip(response, peer, strict=False)) if a != b), -1)


@dataclass(frozen=True)
class Credit:
    """Of one rollout under one view: A_t = log teacher - log student at its tokens, KL(teacher || student) there."""

    question: int
    rollout: int
    right: bool
    divergence: int
    credit_T: np.ndarray
    kl_T: np.ndarray


def measure(reader: Reader, groups: Sequence[Group], names: Sequence[str]) -> dict[str, list[Credit]]:
    """The credit of every rollout under every view; the divergence is that from its correct peer."""
    responses = [[reader.ids(text) + [reader.tokenizer.eos_token_id] for text in group.texts] for group in groups]
    places = [(q, i) for q, group in enumerate(groups) for i in range(len(group.texts))]
    plain = {q: reader.before(group.question, {}) for q, group in enumerate(groups)}
    student = [*reader.scores([(plain[q], responses[q][i]) for q, i in places])]
    found: dict[str, list[Credit]] = {}
    for name in names:
        read = [(n, VIEWS[name](groups[q], i, groups)) for n, (q, i) in enumerate(places)]
        kept = [(n, texts) for n, texts in read if texts is not None]
        rows = [
            (reader.before(groups[places[n][0]].question, texts), responses[places[n][0]][places[n][1]])
            for n, texts in kept
        ]
        found[name] = []
        for (n, _), teacher in zip(kept, reader.scores(rows), strict=True):
            q, i = places[n]
            j = peer_of(groups[q], i)
            tau = NO_PEER if j == NO_PEER else divergence_of(responses[q][i], responses[q][j])
            gap = teacher - student[n]
            picked = np.take_along_axis(gap, np.array(responses[q][i])[:, None], axis=1)[:, 0]
            kl = np.sum(np.exp(teacher) * gap, axis=1)
            found[name].append(Credit(q, i, groups[q].right[i], tau, picked, kl))
    return found

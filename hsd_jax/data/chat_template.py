"""The texts around a question: all that the student and the teacher read besides the response itself.

A prompt is a sequence of pieces, tokenised one by one and spliced as ids:

    student            head  tail
    endpoint context   head  answer  CLOSING  tail
    path context       head  answer  PEER_OPEN <ids of the peer> PEER_CLOSE  CLOSING  tail
    all there can be   head  answer  solution  feedback  PEER_OPEN <ids of the peer> PEER_CLOSE  CLOSING  tail

Every piece starts with a letter or a sign right after a newline, where byte-level tokenizers never merge; so
the ids of the pieces are the ids of the whole text. The one seam where that cannot hold, the end of the peer,
is made of sampled ids that are never decoded. The privileged part stands inside the user turn, and `tail` is
the same on both sides: student and teacher predict the first response token after the very same tokens.

Source: arXiv:2606.15576, Eq. 9 (what is in the context; the paper does not give its wording).
"""

from dataclasses import dataclass
from typing import Any

from hsd_jax.errors import InputError

PEER_OPEN = "=== A correct attempt ===\n"
PEER_CLOSE = "\n=== End of correct attempt ===\n\n"
CLOSING = "Work through the original problem yourself.\n"

INSTRUCTIONS = {
    "math": "Please reason step by step, and put your final answer within \\boxed{}.",
    "code": "Write a complete Python program that solves the problem, in one ```python block.",
}

_PROBES = ("first user text", "=== second ===\n\nuser text.")


@dataclass(frozen=True)
class ChatFrame:
    """A chat template cut at the user's text; `closing` ends with the generation prompt."""

    opening: str
    closing: str


def chat_frame(tokenizer: Any, *, thinking: bool = False) -> ChatFrame:
    """The chat template of a transformers tokenizer around one user turn.

    `thinking=False` asks the template for Qwen3's empty think block; templates without that switch ignore it.
    Raises: InputError if there is no template, or if it does not copy the user's text unchanged and once.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise InputError("model.path: its tokenizer has no chat template; use a directory that ships one")
    frames = {_cut(tokenizer, probe, thinking) for probe in _PROBES}
    if len(frames) != 1:
        raise InputError("model.path: the chat template's generation prompt depends on the user's text")
    return frames.pop()


def _cut(tokenizer: Any, text: str, thinking: bool) -> ChatFrame:
    rendered = tokenizer.apply_chat_template(
        [{"role": "user", "content": text}],
        tokenize=False,
        add_generation_prompt=True,
        enable_thinking=thinking,
    )
    parts = rendered.split(text)
    if len(parts) != 2:
        raise InputError(f"model.path: the chat template shows the user's text {len(parts) - 1} times, not once")
    return ChatFrame(opening=parts[0], closing=parts[1])


def head(frame: ChatFrame, question: str) -> str:
    """The opening of the user turn with the question."""
    return f"{frame.opening}{question.strip()}\n\n"


def answer_block(answer: str) -> str:
    """The endpoint cue; empty where no answer is known."""
    if not answer.strip():
        return ""
    return f"=== Reference answer ===\n{answer.strip()}\n=== End of reference answer ===\n\n"


def solution_block(solution: str) -> str:
    """A written reference solution; empty where none is known."""
    if not solution.strip():
        return ""
    return f"=== Reference solution ===\n{solution.strip()}\n=== End of reference solution ===\n\n"


def feedback_block(feedback: str) -> str:
    """What a verifier said of a failed attempt; empty where it said nothing."""
    if not feedback.strip():
        return ""
    return f"=== Feedback on an earlier attempt ===\n{feedback.strip()}\n=== End of feedback ===\n\n"


def tail(frame: ChatFrame, instruction: str) -> str:
    """The task instruction, the end of the user turn and the generation prompt."""
    return f"{instruction}{frame.closing}"


def student_pieces(frame: ChatFrame, question: str, instruction: str) -> tuple[str, ...]:
    """The pieces of the prompt that the policy answers."""
    return (head(frame, question), tail(frame, instruction))


def teacher_pieces(
    frame: ChatFrame,
    question: str,
    instruction: str,
    *,
    answer: str = "",
    solution: str = "",
    feedback: str = "",
    peer: str = "",
) -> tuple[str, ...]:
    """The pieces of a teacher's context; what is empty leaves nothing."""
    known = (answer_block(answer), solution_block(solution), feedback_block(feedback))
    attempt = (PEER_OPEN, peer, PEER_CLOSE) if peer else ()
    return (head(frame, question), *known, *attempt, CLOSING, tail(frame, instruction))

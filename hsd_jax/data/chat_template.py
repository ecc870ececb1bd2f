"""The texts around a question: all that the student and the teacher read besides the response itself.

A prompt is a sequence of pieces, tokenized one by one and spliced as ids:

    student            prefix  suffix
    endpoint context   prefix  answer  CLOSING  suffix
    path context       prefix  answer  PEER_OPEN <ids of the peer> PEER_CLOSE  CLOSING  suffix
    all there can be   prefix  answer  solution  feedback  PEER_OPEN <ids of the peer> PEER_CLOSE  CLOSING  suffix

Every piece starts with a letter or a sign right after a newline, where byte-level tokenizers never merge; so
the ids of the pieces are the ids of the whole text. The one seam where that cannot hold, the end of the peer,
is made of sampled ids that are never decoded. The privileged part stands inside the user turn, and `suffix` is
the same on both sides: student and teacher predict the first response token after the very same tokens.

Source: arXiv:2606.15576, Eq. 9 (what is in the context; the paper does not give its wording).
"""

import functools
import json
import logging
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import Any

from hsd_jax.data import render_chat
from hsd_jax.errors import InputError

LOG = logging.getLogger(__name__)
WALL_SECONDS = 60

PEER_OPEN = "=== A correct attempt ===\n"
PEER_CLOSE = "\n=== End of correct attempt ===\n\n"
CLOSING = "Work through the original problem yourself.\n"

ATTEMPT_OPEN = "=== Another attempt, right or wrong ===\n"
ATTEMPT_CLOSE = "\n=== End of the other attempt ===\n\n"
FAILED_OPEN = "=== A failed attempt, whose mistake is to be avoided ===\n"
FAILED_CLOSE = "\n=== End of failed attempt ===\n\n"
OTHER_OPEN = "=== An example: another problem, and what belongs to it ===\n"
OTHER_CLOSE = "=== End of the example, whose values are not those of the original problem ===\n\n"

INSTRUCTIONS = {
    "math": "Please reason step by step, and put your final answer within \\boxed{}.",
    "code": "Write a complete Python program that solves the problem, in one ```python block.",
}

BLOCK_LINES = {
    "answer": ("=== Reference answer ===", "=== End of reference answer ==="),
    "solution": ("=== Reference solution ===", "=== End of reference solution ==="),
    "rubric": ("=== What a good answer does ===", "=== End of what a good answer does ==="),
    "skill": ("=== Advice, not to be quoted ===", "=== End of advice ==="),
    "feedback": ("=== Feedback on an earlier attempt ===", "=== End of feedback ==="),
}

_PROBES = ("first user text", "=== second ===\n\nuser text.")


@dataclass(frozen=True)
class ChatTemplate:
    """A chat template cut at the user's text; `closing` ends with the generation prompt.

    `teacher_closing` is that of teachers where they think and the student does not, or the reverse; else empty.
    """

    opening: str
    closing: str
    teacher_closing: str = ""


def load_chat_template(tokenizer: Any, *, thinking: bool = False) -> ChatTemplate:
    """The chat template of a transformers tokenizer around one user turn.

    `thinking=False` asks the template for Qwen3's empty think block; a template that does not do what is asked, always
    or never opening a think block, is named in the log.
    Raises: InputError if there is no template, if it cannot be rendered, ignores the generation prompt, or does not
    copy the user's text unchanged and once.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise InputError("model.path: its tokenizer has no chat template; use a directory that ships one")
    try:
        template = tokenizer.get_chat_template()
    except ValueError as error:  # several templates, none of which is the default
        raise InputError(f"model.path: its tokenizer has no default chat template ({error})") from error
    variants = (
        _variant(0, thinking=thinking),
        _variant(1, thinking=thinking),
        _variant(0, thinking=thinking, prompt=False),
        _variant(0, thinking=not thinking),
    )
    specials = json.dumps(tokenizer.special_tokens_map, default=str)
    first, second, without, switched = render(template, specials, json.dumps(variants))
    if first == without:
        raise InputError(
            "model.path: the chat template ignores the generation prompt: add_generation_prompt changes nothing in it"
        )
    frames = {_cut(text, probe) for text, probe in zip((first, second), _PROBES, strict=True)}
    if len(frames) != 1:
        raise InputError("model.path: the chat template's generation prompt depends on the user's text")
    frame = frames.pop()
    always = frame.closing.rstrip().endswith("<think>")
    if first == switched and always != thinking:
        what = "always opens a <think> block" if always else "never opens a <think> block"
        LOG.warning("model.thinking %s has no effect: the chat template %s, whatever is asked", thinking, what)
    return frame


def _variant(probe: int, *, thinking: bool, prompt: bool = True) -> dict[str, Any]:
    messages = [{"role": "user", "content": _PROBES[probe]}]
    return {"messages": messages, "enable_thinking": thinking, "add_generation_prompt": prompt}


@functools.cache
def render(template: str, special_tokens: str, variants: str) -> tuple[str, ...]:
    """The template's texts for several sets of arguments (both given as JSON), rendered in a process of its own.

    Raises: InputError saying why it cannot be rendered, in one line.
    """
    arguments = [json.loads(special_tokens) | variant for variant in json.loads(variants)]
    request = json.dumps({"template": template, "variants": arguments})
    command = [sys.executable, "-I", render_chat.__file__]
    try:
        done = subprocess.run(command, input=request, capture_output=True, text=True, timeout=WALL_SECONDS)
        answer = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):  # killed by a limit: there is no answer
        answer = {"error": f"does not come to an end within {render_chat.CPU_SECONDS} seconds"}
    if "error" in answer:
        raise InputError(f"model.path: the chat template {answer['error']}")
    return tuple(answer["rendered"])


def _cut(rendered: str, text: str) -> ChatTemplate:
    parts = rendered.split(text)
    if len(parts) != 2:
        raise InputError(f"model.path: the chat template shows the user's text {len(parts) - 1} times, not once")
    return ChatTemplate(opening=parts[0], closing=parts[1])


def prefix(frame: ChatTemplate, question: str) -> str:
    """The opening of the user turn with the question."""
    return f"{frame.opening}{question.strip()}\n\n"


def block(name: str, text: str) -> str:
    """A privileged text between its lines; empty where it is not known."""
    opens, closes = BLOCK_LINES[name]
    return f"{opens}\n{text.strip()}\n{closes}\n\n" if text.strip() else ""


def empty_block(name: str) -> str:
    """The lines around a block, and nothing between them."""
    opens, closes = BLOCK_LINES[name]
    return f"{opens}\n{closes}\n\n"


def fixed_texts(opening: str) -> dict[str, str]:
    """Every fixed text that a view may hold, by name; `opening` is that of the user turn."""
    return {
        "opening": opening,
        "peer_open": PEER_OPEN,
        "peer_close": PEER_CLOSE,
        "attempt_open": ATTEMPT_OPEN,
        "attempt_close": ATTEMPT_CLOSE,
        "failed_open": FAILED_OPEN,
        "failed_close": FAILED_CLOSE,
        "other_open": OTHER_OPEN,
        "other_close": OTHER_CLOSE,
        "closing": CLOSING,
        "canonical_empty": "",
        **{f"{name}_empty": empty_block(name) for name in BLOCK_LINES},
    }


def suffix(frame: ChatTemplate, instruction: str) -> str:
    """The task instruction, the end of the user turn and the generation prompt."""
    return f"{instruction}{frame.closing}"


def with_teacher(student: ChatTemplate, teacher: ChatTemplate) -> ChatTemplate:
    """One template whose teachers end their prompts in their own way.

    Raises: InputError if the template opens the user's turn in another way, too.
    """
    if teacher.opening != student.opening:
        raise InputError(
            "model.teacher-thinking: the chat template opens the user's turn in two ways, and student and teacher must"
            " read the question alike; leave it at the student's"
        )
    return replace(student, teacher_closing=teacher.closing if teacher.closing != student.closing else "")

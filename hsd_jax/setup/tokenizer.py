"""The tokenizer of a model's directory, and everything that depends on it."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from etils import epath

from hsd_jax.config import Config
from hsd_jax.data import chat_template
from hsd_jax.data.files import rows
from hsd_jax.data.markup import THOUGHTS, control_ids, holds_markup, markup_of
from hsd_jax.data.tokenization import Tokenization, Windows, encode
from hsd_jax.errors import InputError
from hsd_jax.runtime.cli import screened_natively
from hsd_jax.runtime.storage import local_copy, read_here
from hsd_jax.types import Padded
from models.json_fields import ABSENT, either, faults, integer, list_of, read_json, refuse_code
from models.qwen3 import Qwen3Config

STOP_TOKENS = ("<|im_end|>", "<|endoftext|>")


def _int32(values: Any) -> Any:
    return np.asarray(values, np.int32)


def load_tokenization(config: Config, model: Qwen3Config, further: Sequence[str] = ()) -> Tokenization:
    """The tokenizer of the model's directory and everything that depends on it; `further`: texts of the method."""
    directory = local_copy(config.model.path)
    tokenizer = read_tokenizer(directory)
    ids = 1 + max(tokenizer.get_vocab().values())
    if ids > model.vocab_size:
        raise InputError(f"model.path: the tokenizer has ids up to {ids - 1} but the model {model.vocab_size} ids")
    chat = chat_template.load_chat_template(tokenizer, thinking=config.model.thinking)
    if config.model.teacher_thinking is not None:
        teacher = chat_template.load_chat_template(tokenizer, thinking=config.model.teacher_thinking)
        chat = chat_template.with_teacher(chat, teacher)
    texts = chat_template.fixed_texts(chat.opening)
    ids_of = dict(zip(texts, encode(tokenizer, list(texts.values())), strict=True))
    frame = {name: Padded(_int32(ids), _int32(len(ids))) for name, ids in ids_of.items()}
    data = config.data
    windows = windows_of(config, further, read_skills(data.skill_bank, tokenizer) if data.skill_bank else ())
    blocks = data.answer_tokens + data.solution_tokens + data.feedback_tokens + data.rubric_tokens + data.skill_tokens
    needed = data.prompt_tokens + blocks + sum(len(ids_of[name]) for name in ("peer_open", "peer_close", "closing"))
    if data.context_tokens < needed:
        raise InputError(
            f"data.context-tokens ({data.context_tokens}) must hold at least prompt, answer, solution, feedback,"
            f" rubric, skill and the fixed texts ({needed} tokens); what is above that is for the peer"
        )
    stop_ids, pad_id = end_ids(directory, tokenizer)
    # a prompt that ends behind a closed thought asks for none
    control = control_ids(tokenizer, thinking=THOUGHTS[1] not in chat.closing)
    return Tokenization(tokenizer, chat, frame, windows, stop_ids, pad_id, control)


def windows_of(config: Config, further: Sequence[str], skills: tuple[str, ...] = ()) -> Windows:
    """How wide the texts of a problem may be.

    Raises: InputError where more skills are read than there are.
    """
    data, sampling = config.data, config.sampling
    code = sampling.code_response_tokens or sampling.response_tokens
    width = {"rubric": data.rubric_tokens, "canonical": data.prompt_tokens}
    width["golden"] = max(sampling.response_tokens, code)
    read = [name for name in further if name.startswith("skill")]
    if skills and len(skills) < len(read):
        raise InputError(f"data.skill-bank: {data.skill_bank} has {len(skills)} skills; the method reads {len(read)}")
    return Windows(
        prompt=data.prompt_tokens,
        answer=data.answer_tokens,
        solution=data.solution_tokens,
        response={"math": sampling.response_tokens, "code": code},
        feedback=data.feedback_tokens,
        further={name: width.get(name, data.skill_tokens) for name in further},
        skills=skills if read else (),
    )


def read_skills(path: str, tokenizer: Any) -> tuple[str, ...]:
    """The skills of a file, which may be gs://, each with the mistake to avoid.

    Raises: InputError for a file that is missing or holds no skills, and for a row without text or with chat markup.
    """
    place, markup, skills = epath.Path(path), markup_of(tokenizer), []
    if not place.is_file():
        raise InputError(f"data.skill-bank: no file {path!r}; give JSON lines with `skill` and `mistake`")
    with read_here(place.parent, [place.name]) as here:
        for row in rows(here / place.name):
            said = {name: row.text(name).strip() for name in ("skill", "mistake") if row.get(name)}
            text = "\n".join(words if name == "skill" else f"Avoid this: {words}" for name, words in said.items())
            if not text or holds_markup(markup, text):
                what = "chat markup" if text else "neither `skill` nor `mistake`"
                raise InputError(f"data.skill-bank: {row.place} holds {what}; mend the row")
            skills.append(text)
    if not skills:
        raise InputError(f"data.skill-bank: {path} holds no skill; give JSON lines with `skill` and `mistake`")
    return tuple(skills)


def end_ids(path: str, tokenizer: Any) -> tuple[tuple[int, ...], int]:
    """The ids that end a response, from the tokenizer and generation_config.json together, and the id that pads one.

    Raises: InputError if there is none, or generation_config.json names one that the tokenizer does not have.
    """
    file = Path(path) / "generation_config.json"
    told = read_json(path, file.name) if file.is_file() else {}
    known = integer(0, max(tokenizer.get_vocab().values()))
    kinds = {"eos_token_id": either(ABSENT, known, list_of(known)), "pad_token_id": either(ABSENT, known)}
    if problems := [*faults(told, kinds)]:
        raise InputError(f"{file}: " + "; ".join(problems) + " (the ids of the tokenizer)")
    ends = told.get("eos_token_id")
    words = tokenizer.get_vocab()
    stop_ids = {words[token] for token in STOP_TOKENS if token in words} | {tokenizer.eos_token_id, *as_list(ends)}
    stop_ids -= {None}
    if not stop_ids:
        raise InputError(f"model.path: the tokenizer has no end token ({', '.join(STOP_TOKENS)} or an eos_token)")
    pads = (tokenizer.pad_token_id, told.get("pad_token_id"), min(stop_ids))
    return tuple(sorted(stop_ids)), next(pad for pad in pads if pad is not None)


def as_list(value: Any) -> list[Any]:
    """A list as it is, anything else as a list of one."""
    return value if isinstance(value, list) else [value]


def read_tokenizer(path: str) -> Any:
    """The tokenizer of a Hugging Face directory, from its files alone; no code of the directory is run.

    Raises: InputError for a directory without a tokenizer, with one that cannot be read, or that brings code.
    """
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")  # that there is no PyTorch
    from transformers import AutoTokenizer

    if not (Path(path) / "tokenizer.json").is_file() and not (Path(path) / "vocab.json").is_file():
        raise InputError(f"model.path: {path} has no tokenizer.json; it must be a complete Hugging Face directory")
    refuse_code(path)
    try:
        with screened_natively():  # the library prints the names of fields that it does not know
            tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
            encode(tokenizer, ["1 + 1"])  # some settings are looked at only now
    except Exception as error:  # the library raises whatever the files make it stumble over
        raise InputError(
            f"model.path: the tokenizer of {path} cannot be read ({error or type(error).__name__})"
        ) from error
    if not tokenizer.is_fast:
        raise InputError(f"model.path: the tokenizer of {path} is not a fast one; use a directory with tokenizer.json")
    return tokenizer

"""How text becomes ids in a run, and which questions it asks: read from the model's directory and the data."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import grain
import jax
import numpy as np

from hsd_jax.config import Config
from hsd_jax.data import batches, chat_template
from hsd_jax.data import corpora as data_corpora
from hsd_jax.data.curation import overlap
from hsd_jax.data.markup import THOUGHTS, control_ids
from hsd_jax.data.problems import Problem
from hsd_jax.data.sources import Corpus
from hsd_jax.data.tokenization import Tokenization, Windows, encode
from hsd_jax.errors import InputError
from hsd_jax.runtime.cli import screened_natively
from hsd_jax.runtime.storage import local_copy
from hsd_jax.types import Padded
from models.json_fields import ABSENT, either, faults, integer, list_of, read_json, refuse_code
from models.qwen3 import Qwen3Config

LOG = logging.getLogger(__name__)
STOP_TOKENS = ("<|im_end|>", "<|endoftext|>")


@dataclass(frozen=True)
class Questions:
    """The training questions of every step, what their order depends on, and the held-out ones."""

    steps: grain.MapDataset[list[Problem]]
    identity: Mapping[str, Any]
    held_out: Sequence[Problem]


def _int32(values: Any) -> Any:
    return np.asarray(values, np.int32)


def load_tokenization(config: Config, model: Qwen3Config) -> Tokenization:
    """The tokenizer of the model's directory and everything that depends on it."""
    directory = local_copy(config.model.path)
    tokenizer = read_tokenizer(directory)
    ids = 1 + max(tokenizer.get_vocab().values())
    if ids > model.vocab_size:
        raise InputError(f"model.path: the tokenizer has ids up to {ids - 1} but the model {model.vocab_size} ids")
    chat = chat_template.load_chat_template(tokenizer, thinking=config.model.thinking)
    texts = chat_template.fixed_texts(chat.opening)
    ids_of = dict(zip(texts, encode(tokenizer, list(texts.values())), strict=True))
    frame = {name: Padded(_int32(ids), _int32(len(ids))) for name, ids in ids_of.items()}
    data, sampling = config.data, config.sampling
    blocks = data.answer_tokens + data.solution_tokens + data.feedback_tokens
    needed = data.prompt_tokens + blocks + sum(len(ids_of[name]) for name in ("peer_open", "peer_close", "closing"))
    if data.context_tokens < needed:
        raise InputError(
            f"data.context-tokens ({data.context_tokens}) must hold at least prompt, answer, solution, feedback and the"
            f" fixed texts ({needed} tokens); what is above that is for the peer"
        )
    code = sampling.code_response_tokens or sampling.response_tokens
    windows = Windows(
        prompt=data.prompt_tokens,
        answer=data.answer_tokens,
        solution=data.solution_tokens,
        response={"math": sampling.response_tokens, "code": code},
        feedback=data.feedback_tokens,
    )
    stop_ids, pad_id = end_ids(directory, tokenizer)
    # a prompt that ends behind a closed thought asks for none
    control = control_ids(tokenizer, thinking=THOUGHTS[1] not in chat.closing)
    return Tokenization(tokenizer, chat, frame, windows, stop_ids, pad_id, control)


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


def read_questions(config: Config, texts: Tokenization) -> Questions:
    """Opens the sources and fixes the order of the questions."""
    data = config.data
    corpora = data_corpora.load_all(data.source, Path(local_copy(data.path)) if data.path else None)
    train = data_corpora.pool(corpora, "train", texts.tokenizer, texts.chat, texts.windows)
    rows = {source: [*chain(*found.indices.values())] for source, found in train.left_out.items()}
    overlap.check(corpora, rows, allowed=data.allow_shared_questions)
    kinds = sorted(train.problems, reverse=True)
    weights: dict[str, int] = (
        dict(zip(("math", "code"), data.mixture, strict=True)) if len(kinds) == 2 else {kinds[0]: 1}
    )
    order: dict[str, Any] = {"problems_per_step": data.problems_per_step, "seed": config.seed, "weights": weights}
    steps = batches.step_batches(
        train.problems, **order, process_index=jax.process_index(), process_count=jax.process_count()
    )
    identity = batches.identity(train.problems, fingerprint=train.fingerprint, **order)
    return Questions(steps, identity, held_out(config, corpora, texts, weights))


def held_out(
    config: Config, corpora: Sequence[Corpus], texts: Tokenization, weights: Mapping[str, int]
) -> list[Problem]:
    """The first questions of the test splits, kinds in the mixture's shares and each source by its size.

    None where the sources have no such split; fewer than were asked for where a kind has too few, which is said.
    """
    if not any("test" in corpus.splits for corpus in corpora):
        return []
    test = data_corpora.pool(corpora, "test", texts.tokenizer, texts.chat, texts.windows)
    places = data_corpora.places(corpora, "test", test)
    kinds = {kind: data_corpora.spread(of, {name: len(of[name]) for name in of}) for kind, of in places.items()}
    trained = {kind: weights[kind] for kind in kinds if kind in weights} or dict.fromkeys(kinds, 1)
    chosen = data_corpora.spread({kind: kinds[kind] for kind in trained}, trained)[: config.evaluation.problems]
    if len(chosen) < min(config.evaluation.problems, sum(map(len, kinds.values()))):
        has = " and ".join(f"{len(rows)} {kind}" for kind, rows in kinds.items())
        LOG.warning("held-out questions: %d, in the mixture's shares; the test splits have %s", len(chosen), has)
    if missing := [kind for kind in weights if kind not in kinds]:
        LOG.warning("held-out questions: none of %s, which is trained on: the test splits have none", missing[0])
    return [corpora[number].splits["test"][row] for number, row in chosen]

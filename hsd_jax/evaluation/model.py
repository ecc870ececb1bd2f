"""Loads a model for evaluation: a Hugging Face directory or one of our checkpoints, on one device or on a pod."""

from pathlib import Path

import jax
from etils import epath

from hsd_jax.config import Config, Data, Model, Sampling
from hsd_jax.data.tokenization import Tokenization
from hsd_jax.errors import InputError
from hsd_jax.evaluation.generate import EvalModel
from hsd_jax.evaluation.settings import EvalConfig, check
from hsd_jax.setup.sampling import make_sampler
from hsd_jax.setup.tokenizer import load_tokenization
from hsd_jax.setup.trained import restore_params
from models import hf
from models.qwen3 import Params, Qwen3Config
from models.sharding import make_mesh

ANSWER_TOKENS = 4096


def is_hf(path: str) -> bool:
    """Whether a path is a Hugging Face directory."""
    return (epath.Path(path) / "config.json").exists() and not (epath.Path(path) / "checkpoints").exists()


def texts_for(asking: EvalConfig, directory: str, model: Qwen3Config) -> Tokenization:
    """Tokenizer, chat frame and windows, as training reads them."""
    windows = Data(
        prompt_tokens=asking.prompt_tokens,
        answer_tokens=ANSWER_TOKENS,
        context_tokens=asking.prompt_tokens + 2 * ANSWER_TOKENS,
    )
    sampling = Sampling(response_tokens=asking.response_tokens, code_response_tokens=asking.code_response_tokens)
    config = Config(model=Model(path=directory, thinking=asking.thinking), data=windows, sampling=sampling)
    return load_tokenization(config, model)


def read_model(path: str) -> tuple[Qwen3Config, Params, str]:
    """Configuration, float32 weights, and the directory of the tokenizer.

    Raises: InputError if the path is neither a Hugging Face directory nor holds a good checkpoint.
    """
    if is_hf(path):
        config = Qwen3Config.from_hf(path)
        return config, hf.load_params(path, config, make_mesh(1, -1, 1)), path
    if not epath.Path(path).exists():
        raise InputError(f"--checkpoint: {path} does not exist")
    return restore_params(path, make_mesh(1, -1, 1))


def open_model(asking: EvalConfig, *, kinds: tuple[str, ...]) -> EvalModel:
    """Loads the weights for decoding and fixes the sampler for these kinds of problems; compiles nothing yet."""
    check(asking)
    model, params, directory = read_model(asking.checkpoint)
    texts = texts_for(asking, directory, model)
    longest = max(texts.windows.response[kind] for kind in kinds)
    room = model.max_positions - asking.prompt_tokens
    if longest > room:
        raise InputError(
            f"--prompt-tokens {asking.prompt_tokens} and an answer of {longest} tokens do not fit into the model's"
            f" {model.max_positions} positions; lower --prompt-tokens, --response-tokens or --code-response-tokens"
        )
    s, rows = asking, asking.slots or asking.batch * asking.samples
    drawn = Sampling(
        temperature=s.temperature, top_p=s.top_p, top_k=s.top_k, chunk=s.chunk, dtype=s.dtype, tensor=s.tensor
    )
    sampler = make_sampler(model, texts, drawn, rows=rows, longest=longest)
    return EvalModel(sampler, jax.block_until_ready(sampler.weights_of(params)))


def short_name(path: str) -> str:
    """A name for files about a checkpoint: the last two parts of its path."""
    parts = [part for part in Path(path).resolve().parts if part not in ("/", "checkpoints")]
    return "-".join(parts[-2:]) or "checkpoint"

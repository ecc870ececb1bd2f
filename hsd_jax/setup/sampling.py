"""How a model is sampled, in training and evaluation alike: compiled shapes, the choice of tokens, text to ids."""

from dataclasses import dataclass
from typing import Any

from hsd_jax import config
from hsd_jax.data.tokenization import Tokenization
from hsd_jax.sampler import token_sampling
from hsd_jax.sampler.buckets import make_sampler_config
from hsd_jax.sampler.decode_sharding import DecodeParams, decode_mesh, decode_params
from hsd_jax.sampler.state import Capacity, SamplerConfig
from hsd_jax.sampler.token_sampling import SamplingParams
from models.qwen3 import Params, Qwen3Config


@dataclass(frozen=True)
class Sampler:
    """What is fixed in sampling; weights come with each step."""

    program: SamplerConfig
    choice: SamplingParams
    texts: Tokenization
    scale: float = 0.0

    def weights_of(self, params: Params) -> DecodeParams:
        """Weights in the number format and the places of decoding; adapters are merged, times `scale`."""
        to = self.program
        return decode_params(params, config=to.config, dtype=to.dtype, mesh=to.mesh, scale=self.scale)


def capacity_of(settings: config.Sampling, *, prompt: int, longest: int, rows: int, data: int) -> Capacity:
    """Room for at most `rows` responses at a time, none over `longest` tokens, in whole multiples of the data axis."""
    slots = -(-min(settings.slots or rows, rows) // data) * data
    return Capacity(prompt, longest, slots, settings.chunk)


def make_sampler(
    model: Qwen3Config,
    texts: Tokenization,
    settings: config.Sampling,
    *,
    rows: int,
    longest: int,
    devices: list[Any] | None = None,
) -> Sampler:
    """A sampler of at most `rows` responses at a time, none over `longest` tokens, on this process's devices."""
    mesh = decode_mesh(tensor=settings.tensor, devices=devices)
    room = {"prompt": texts.windows.prompt, "longest": longest, "rows": rows, "data": mesh.shape["data"]}
    program = make_sampler_config(
        model,
        capacity_of(settings, **room),
        vocabulary=len(texts.tokenizer),
        pad_id=texts.pad_id,
        dtype=settings.dtype,
        mesh=mesh,
    )
    choice = token_sampling.sampling_params(
        temperature=settings.temperature, top_p=settings.top_p, top_k=settings.top_k, stop_ids=texts.stop_ids
    )
    return Sampler(program, choice, texts)

"""The cache shapes of a sampler of a given capacity."""

from jax.sharding import Mesh

from hsd_jax.errors import InputError
from hsd_jax.sampler.state import CHECK, Capacity, SamplerConfig
from models.qwen3 import Qwen3Config

MIN_SAVING = 128


def make_sampler_config(
    config: Qwen3Config,
    room: Capacity,
    *,
    vocabulary: int,
    pad_id: int,
    dtype: str = "float32",
    mesh: Mesh | None = None,
) -> SamplerConfig:
    """The shapes of a sampler: cache lengths for 1/4, 1/2 and all of the response window, and a quarter of the slots
    for the last, longest rollouts.

    `vocabulary` is the tokenizer's size; ids from there to the model's are never sampled. `mesh` comes from
    `decode_mesh`.

    Raises:
        InputError: a size is impossible.
    """
    data, slots = 1 if mesh is None else mesh.shape["data"], room.slots
    _check(config, room, vocabulary, mesh)
    # a shape is worth its compilation only where it saves many tokens of cache
    parts = [part for part in (1, 2, 4) if part == 4 or room.response_window // 4 >= MIN_SAVING]
    lengths = [round_up(room.prompt_window + room.response_window * part // 4) for part in parts]
    tail = max(1, slots // 4 // data) * data
    shapes = {(slots, length) for length in lengths} | {(tail, length) for length in lengths[-2:]}
    return SamplerConfig(
        config=config,
        vocabulary=vocabulary,
        pad_id=pad_id,
        prompt_window=room.prompt_window,
        response_window=room.response_window,
        shapes=tuple(sorted(shapes)),
        chunk=room.chunk,
        prefill_batch=max(1, slots // 16 // data) * data,
        dtype=dtype,
        mesh=mesh,
    )


def _check(config: Qwen3Config, room: Capacity, vocabulary: int, mesh: Mesh | None) -> None:
    for name, value in vars(room).items():
        if value < 1:
            raise InputError(f"{name} must be at least 1; got {value}")
    data = 1 if mesh is None else mesh.shape["data"]
    if not 0 < vocabulary <= config.vocab_size:
        raise InputError(f"vocabulary must be in 1..{config.vocab_size}, the rows of the embedding; got {vocabulary}")
    if room.slots % data:
        raise InputError(f"slots must be a multiple of {data}, the data axis of the decode mesh; got {room.slots}")
    if mesh is not None and config.kv_heads % mesh.shape["tensor"]:
        raise InputError(
            f"the tensor axis of the decode mesh must divide the {config.kv_heads} key/value heads; "
            f"got {mesh.shape['tensor']}"
        )
    if room.chunk % CHECK:
        raise InputError(f"chunk must be a positive multiple of {CHECK} steps; got {room.chunk}")


def round_up(length: int) -> int:
    """The next multiple of 128 tokens, of 16 below 512: what TPUs pad to, and little waste."""
    step = 16 if length <= 512 else 128
    return -(-length // step) * step

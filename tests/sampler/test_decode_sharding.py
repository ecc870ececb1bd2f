"""A mesh for decoding is tried before anything is loaded."""

import jax
import pytest

from hsd_jax.errors import InputError
from hsd_jax.sampler import decode_sharding


def test_a_host_whose_chips_take_programs_is_accepted() -> None:
    decode_sharding.refuse_unusable(decode_sharding.decode_mesh(tensor=2))


def test_a_compiler_that_refuses_one_host_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object) -> None:
        raise jax.errors.JaxRuntimeError("INTERNAL: limited ICI routing device assignment\nmore")

    monkeypatch.setattr(jax, "block_until_ready", refuses)
    with pytest.raises(InputError, match="^decoding: cpu: .*limited ICI routing device assignment.; take v5p"):
        decode_sharding.refuse_unusable(decode_sharding.decode_mesh())

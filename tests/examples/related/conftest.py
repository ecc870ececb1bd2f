"""Fixtures of the related programs' tests."""

from collections.abc import Iterator

import jax
import pytest


@pytest.fixture(autouse=True)
def implicit_ranks() -> Iterator[None]:
    """The programs broadcast as NumPy does; their readers know the axes from the names."""
    with jax.numpy_rank_promotion("allow"):
        yield

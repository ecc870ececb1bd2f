"""The decode chunk of Qwen3-8B as the TPU compiler sees it: no second cache, no second reading of it."""

import importlib.util

import pytest

from benchmarks.decode_aot import compile_chunk, qwen3_8b

pytestmark = [
    pytest.mark.aot,
    pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed"),
]


def test_decoding_reads_weights_and_cache_once_and_copies_neither():
    # few ids, so that four layers show what 36 do
    chunk = compile_chunk(qwen3_8b(layers=4, vocabulary=8192), "v6e:8x8")
    least = chunk.weights + chunk.cache
    assert chunk.cache == 4 * 2 * 1024 * 8 * 4352 * 128 * 2 / 64
    assert chunk.aliased >= chunk.cache
    assert chunk.temporary / chunk.cache < 0.10
    assert 0.9 < chunk.hbm / least <= 1.4
    assert 0.9 < chunk.accessed / least <= 1.4

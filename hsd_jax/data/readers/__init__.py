"""From the true files of each corpus to problems: one function per schema, `(files, split) -> rows`."""

from hsd_jax.data.readers.gsm8k import gsm8k
from hsd_jax.data.readers.own import own

__all__ = ["gsm8k", "own"]

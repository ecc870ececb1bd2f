"""From the true files of each corpus to problems: one function per schema, `(files, split) -> rows`."""

from hsd_jax.data.readers.apps import apps
from hsd_jax.data.readers.gsm8k import gsm8k
from hsd_jax.data.readers.humaneval import humaneval, humaneval_plus
from hsd_jax.data.readers.jsonl import own
from hsd_jax.data.readers.livecodebench import livecodebench
from hsd_jax.data.readers.math import aime, math, math500
from hsd_jax.data.readers.numina import numina

__all__ = ["aime", "apps", "gsm8k", "humaneval", "humaneval_plus", "livecodebench", "math", "math500", "numina", "own"]

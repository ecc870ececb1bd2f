"""sgsd (arXiv:2605.28791, released code (given skills)) in place of HSD (docs/methods.md). Not yet run.

The bank: JSON lines with `skill` and `mistake`; four skills are found for a question by the words they share.
"""

from dataclasses import replace

from configs.hsd_qwen3_8b_v6e64 import config as base
from hsd_jax.config import Method

config = replace(
    base, method=Method(name="sgsd"), data=replace(base.data, skill_bank="datasets/skills.jsonl", skill_tokens=256)
)

"""Where the checkout, the tiny model and the real corpora lie."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TINY_MODEL = ROOT / "assets" / "tiny_qwen3"
# Real corpora outside the checkout; tests that read them skip where they are absent.
CORPORA = Path(os.environ.get("HSD_JAX_ACCEPTANCE_DATA", ROOT.parent / "shared" / "data"))

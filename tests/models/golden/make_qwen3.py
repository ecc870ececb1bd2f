"""Makes tests/models/golden/qwen3.npz: logits of transformers for random tiny models, for parity tests without it.

python tests/models/golden/make_qwen3.py      (needs torch and transformers)
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers

sys.path.insert(0, str(Path(__file__).parents[3]))
from tests.support.random_qwen3 import GOLDEN_CASES, hf_weights, padded_batch, write_hf


def logits(config: dict) -> np.ndarray:
    """Float32 logits of transformers, eager attention."""
    tokens, valid = padded_batch(config["vocab_size"])
    with tempfile.TemporaryDirectory() as folder:
        directory = write_hf(Path(folder), config, hf_weights(config))
        model = transformers.Qwen3ForCausalLM.from_pretrained(directory, dtype="float32", attn_implementation="eager")
    with torch.no_grad():
        mask = torch.tensor(valid.astype(np.int64))
        return model(torch.tensor(tokens, dtype=torch.long), attention_mask=mask).logits.numpy()


if __name__ == "__main__":
    golden = {name: logits(config) for name, config in GOLDEN_CASES.items()}
    np.savez_compressed(Path(__file__).with_name("qwen3.npz"), transformers=transformers.__version__, **golden)
    print({name: (value.shape, float(np.abs(value).max())) for name, value in golden.items()})

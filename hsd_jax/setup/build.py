"""From a config to everything a run needs: its model, tokenizer and questions are read, nothing compiles."""

import jax

from hsd_jax.config import Config
from hsd_jax.data.input_pipeline import read_questions
from hsd_jax.methods import row
from hsd_jax.setup.components import RunComponents, assemble
from hsd_jax.setup.run_config import run_config
from hsd_jax.setup.tokenizer import load_tokenization
from models.qwen3 import Qwen3Config


def build_components(config: Config) -> RunComponents:
    """Reads the model's shape, tokenizer and data, and fixes every program's settings; compiles nothing.

    Raises: InputError for anything that cannot work, naming the field.
    """
    run = run_config(config, Qwen3Config.from_hf, processes=jax.process_count())
    texts = load_tokenization(config, run.model, row.further_texts(run.method))
    return assemble(run, texts, read_questions(config, texts), processes=jax.process_count())

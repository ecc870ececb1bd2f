"""Which questions a run asks: read from the data, in a fixed order."""

import logging
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import jax

from hsd_jax.config import Config
from hsd_jax.data import batches
from hsd_jax.data import corpora as data_corpora
from hsd_jax.data.batches import Corpus, Questions
from hsd_jax.data.curation import overlap
from hsd_jax.data.files import settings_hash
from hsd_jax.data.problems import Problem
from hsd_jax.data.tokenization import Tokenization
from hsd_jax.runtime.storage import local_copy

LOG = logging.getLogger(__name__)


def read_questions(config: Config, texts: Tokenization) -> Questions:
    """Opens the sources and fixes the order of the questions."""
    data = config.data
    path = Path(local_copy(data.path)) if data.path else None
    corpora = data_corpora.load_all(data.source, path, fields=data.fields)
    train = data_corpora.pool(corpora, "train", texts.tokenizer, texts.chat, texts.windows)
    rows = {source: [*chain(*found.indices.values())] for source, found in train.left_out.items()}
    overlap.check(corpora, rows, allowed=data.allow_shared_questions)
    kinds = sorted(train.problems, reverse=True)
    weights: dict[str, int] = (
        dict(zip(("math", "code"), data.mixture, strict=True)) if len(kinds) == 2 else {kinds[0]: 1}
    )
    order: dict[str, Any] = {"problems_per_step": data.problems_per_step, "seed": config.seed, "weights": weights}
    steps = batches.step_batches(
        train.problems, **order, process_index=jax.process_index(), process_count=jax.process_count()
    )
    skills = texts.windows.skills
    fingerprint = train.fingerprint + (f"+skills-{settings_hash(skills)}" if skills else "")
    identity = batches.identity(train.problems, fingerprint=fingerprint, **order)
    return Questions(steps, identity, held_out(config, corpora, texts, weights))


def held_out(
    config: Config, corpora: Sequence[Corpus], texts: Tokenization, weights: Mapping[str, int]
) -> list[Problem]:
    """The first questions of the test splits, kinds in the mixture's shares and each source by its size.

    None where the sources have no such split; fewer than were asked for where a kind has too few, which is said.
    """
    if not any("test" in corpus.splits for corpus in corpora):
        return []
    test = data_corpora.pool(corpora, "test", texts.tokenizer, texts.chat, texts.windows)
    places = data_corpora.places(corpora, "test", test)
    kinds = {kind: data_corpora.spread(of, {name: len(of[name]) for name in of}) for kind, of in places.items()}
    trained = {kind: weights[kind] for kind in kinds if kind in weights} or dict.fromkeys(kinds, 1)
    chosen = data_corpora.spread({kind: kinds[kind] for kind in trained}, trained)[: config.evaluation.problems]
    if len(chosen) < min(config.evaluation.problems, sum(map(len, kinds.values()))):
        has = " and ".join(f"{len(rows)} {kind}" for kind, rows in kinds.items())
        LOG.warning("held-out questions: %d, in the mixture's shares; the test splits have %s", len(chosen), has)
    if missing := [kind for kind in weights if kind not in kinds]:
        LOG.warning("held-out questions: none of %s, which is trained on: the test splits have none", missing[0])
    return [corpora[number].splits["test"][row] for number, row in chosen]

"""Measures how hard questions are for a model: the share of right answers among its samples (32 in the paper).

Source: arXiv:2606.15576 (difficulty bins come from the initial pass rate over 32 samples).
"""

from collections.abc import Sequence

from rich.console import Console

from hsd_jax.data import difficulty
from hsd_jax.data.batches import Corpus
from hsd_jax.data.files import settings_hash
from hsd_jax.data.problems import Problem
from hsd_jax.data.tokenization import Tokenization
from hsd_jax.data.usable import filter_by_length, log_removed
from hsd_jax.errors import InputError
from hsd_jax.evaluation.model import open_model
from hsd_jax.evaluation.runner import ask_and_save
from hsd_jax.evaluation.settings import EvalConfig, decisive, settled, verifier_of
from hsd_jax.rollout.graders import open_graders
from hsd_jax.rollout.grading import submit_to
from hsd_jax.types import SUCCESS
from hsd_jax.verifiers import cases


def measure(asking: EvalConfig, corpora: Sequence[Corpus], split: str, screen: Console, *, first: int = 0) -> None:
    """Samples answers to every question of a split (or the first ones) and writes the counts to each corpus.

    An interrupted measurement continues where it stopped. Programs are graded on their visible tests, as in training.
    Raises: InputError if no corpus has the split.
    """
    asking = settled(asking)
    having = [corpus for corpus in corpora if split in corpus.splits]
    if not having:
        raise InputError(f"--split: {'+'.join(corpus.source for corpus in corpora)} has no {split!r} split")
    rows = [corpus.splits[split] for corpus in having]
    kinds = tuple(sorted({part[i].kind for part in rows for i in range(len(part))}))
    model = open_model(asking, kinds=kinds)
    settings = decisive(asking)
    with open_graders(verifier_of(asking), programs="code" in kinds) as graders:
        submit = submit_to(graders, lambda problem: cases.visible(problem.visible))
        for corpus in having:
            problems = _fitting(corpus, split, model.sampler.texts, first)
            log_file = corpus.directory / f"difficulty-{settings_hash(settings)}.jsonl"
            answered = ask_and_save(model, problems, asking, submit, log_file)
            correct = {one.id: sum(reward > SUCCESS for reward in one.rewards) for one in answered}
            file = difficulty.write(corpus.directory, correct, samples=asking.samples, settings=settings)
            screen.print(f"{corpus.source}: {len(correct)} questions measured, {file}", highlight=False)


def _fitting(corpus: Corpus, split: str, texts: Tokenization, first: int) -> list[Problem]:
    found = filter_by_length(corpus.splits[split], texts.tokenizer, texts.chat, texts.windows)
    log_removed(found, corpus.source)
    rows = sorted(row for indices in found.indices.values() for row in indices)
    problems = corpus.splits[split]
    return [problems[row] for row in (rows[:first] if first else rows)]

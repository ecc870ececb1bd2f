"""Benchmark numbers of a model: mean@k, pass@k, maj@k with intervals, length, truncation, cost.

python -m hsd_jax.evaluate --checkpoint DIR --benchmark math500 --samples 16 --temperature 1.0

Every problem's answers are saved as they come, so an interrupted evaluation continues where it stopped. The result
is one JSON file with every setting and every problem. Source of the protocol: arXiv:2606.15576 (16 samples at T = 1).
"""

import dataclasses
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import tyro
from rich.console import Console

from hsd_jax.data.files import settings_hash
from hsd_jax.errors import EXIT_DONE, InputError
from hsd_jax.evaluation.benchmarks import Benchmark, open_benchmark
from hsd_jax.evaluation.model import open_model, short_name
from hsd_jax.evaluation.results import EvalResult, summary
from hsd_jax.evaluation.runner import ask_and_save
from hsd_jax.evaluation.score_report import print_table
from hsd_jax.evaluation.settings import EvalConfig, check, decisive, settled, verifier_of
from hsd_jax.rollout.graders import open_graders
from hsd_jax.rollout.test_suites import submit_all_tests
from hsd_jax.runtime import cli, files, multihost, paths
from hsd_jax.runtime.compile_cache import enable_compilation_cache

RESULTS = Path("runs") / "evaluations"


@dataclass(frozen=True)
class Arguments:
    """What is asked, and where the answers go."""

    asking: Annotated[EvalConfig, tyro.conf.arg(name="")] = field(metadata={"flat": True})
    """How the model is asked."""
    benchmark: str = tyro.MISSING
    """math500, aime24, aime25, lcb, humaneval_plus, humaneval, gsm8k, math, tiny, or a JSONL file of problems."""
    path: Annotated[str, paths.GIVEN] = ""
    """Directory of the benchmark's files; empty: where `prepare fetch` puts them."""
    problems: int = 0
    """Ask only this many, the first ones; 0: all."""
    out: Annotated[str, paths.GIVEN] = ""
    """Directory of the results; empty: runs/evaluations/<checkpoint>-<benchmark>-<hash of the settings>."""


def settings_of(given: Arguments, benchmark: Benchmark) -> dict[str, Any]:
    """Everything that the answers depend on."""
    return decisive(given.asking) | {
        "benchmark": benchmark.name,
        "fingerprint": benchmark.fingerprint,
        "problems": len(benchmark.problems),
    }


def open_out(given: Arguments, settings: Mapping[str, Any]) -> Path:
    """The directory of the results, with `settings.json`.

    Raises: InputError if it holds an evaluation with other settings.
    """
    stem = f"{short_name(given.asking.checkpoint)}-{settings['benchmark']}-{settings_hash(settings)}"
    out = Path(given.out) if given.out else RESULTS / stem
    file = out / "settings.json"
    if file.is_file():
        try:
            before = dict(json.loads(file.read_text(encoding="utf-8")))
        except (ValueError, TypeError, RecursionError) as error:
            raise InputError(f"--out: {file} cannot be read ({error}); pass another directory") from error
        for key in {**before, **settings}:
            if before.get(key) != settings.get(key):
                raise InputError(
                    f"--out: {out} holds an evaluation with {key} = {before.get(key)!r}, not {settings.get(key)!r};"
                    " pass another directory"
                )
    elif jax.process_index() == 0:
        out.mkdir(parents=True, exist_ok=True)
        files.replace(file, json.dumps(settings, indent=1))
    return out


def main(argv: Sequence[str]) -> int:
    """The command: refuse what is wrong, then run."""
    default = Arguments(EvalConfig(checkpoint=tyro.MISSING))
    given = cli.parse(Arguments, argv, default=default, command="evaluate", about=__doc__ or "")
    check(given.asking)
    paths.check_writable(paths.check_local(given.out or str(RESULTS.absolute()), "--out"), "--out")
    place = multihost.from_environment(os.environ)
    enable_compilation_cache(*(place.process, place.processes) if place else ())
    with multihost.distributed_session(place):
        run(given, cli.tables())
    return EXIT_DONE


def run(given: Arguments, screen: Console) -> None:
    """Asks, grades, writes and shows; in every process of a pod alike, process 0 writes."""
    given = dataclasses.replace(given, asking=settled(given.asking))
    benchmark = open_benchmark(given.benchmark, given.path, given.problems)
    model = open_model(given.asking, kinds=benchmark.kinds)
    benchmark = benchmark.that_fit(model.sampler.texts)
    settings = settings_of(given, benchmark)
    out = open_out(given, settings)
    begun = time.monotonic()
    with open_graders(verifier_of(given.asking), programs="code" in benchmark.kinds) as graders:
        submit = submit_all_tests(graders)
        answered = ask_and_save(model, benchmark.problems, given.asking, submit, out / "answers.jsonl")
        seconds = time.monotonic() - begun
        result = summary(benchmark.problems, answered, seed=given.asking.seed, same=graders.same)
    if jax.process_index() == 0:
        file = write(out, settings, benchmark, result, seconds, dataclasses.asdict(given.asking))
        print_table(screen, settings, benchmark, result, seconds, file)


def write(
    out: Path,
    settings: Mapping[str, Any],
    benchmark: Benchmark,
    result: EvalResult,
    seconds: float,
    asked: Mapping[str, Any],
) -> Path:
    """Writes result.json: settings, versions, metrics, cost, and every problem without its texts."""
    per_problem = [
        {name: value for name, value in vars(one).items() if name != "texts"} | {"pass@1": float(np.mean(one.rewards))}
        for one in result.answered
    ]
    versions = {"jax": jax.__version__, "numpy": np.__version__}
    document = {
        "settings": {**asked, **settings},
        "versions": versions,
        "devices": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        "metrics": result.metrics,
        "counts": result.counts,
        "lengths": result.lengths,
        "difficulty": {name: {"problems": n, "pass@1": mean} for name, (n, mean) in result.bins.items()},
        "left_out": benchmark.left_out,
        "seconds_of_this_call": round(seconds, 2),
        "problems": per_problem,
    }
    file = out / "result.json"
    files.replace(file, json.dumps(document, indent=1, ensure_ascii=False))
    return file


if __name__ == "__main__":
    cli.run(main)

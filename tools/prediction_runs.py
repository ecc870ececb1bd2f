"""The runs behind `tools.predictions`: which they are, as commands; what is finished is not run again.

A cell is a short training of the tiny model and an evaluation of its last checkpoint on held-out questions.
Learning rates are tried on `TUNING`, a seed that is in no table.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hsd_jax.errors import EXIT_DONE
from tools.compare_methods import OWN_TEACHER

STEPS, TUNING = 10, 100
RATES = (1e-4, 2e-4, 4e-4, 8e-4)
UNTUNED = 2e-4  # the rate of configs/tiny.py, until all of `RATES` have been tried
CONFIG, MODEL = "configs/tiny.py", "assets/tiny_qwen3"
METHODS: dict[str, tuple[str, ...]] = {
    "hsd": (),
    "grpo": ("--method.name", "grpo", *OWN_TEACHER),
    "opsd": ("--method.name", "opsd"),
    "sdpo": ("--method.name", "sdpo", *OWN_TEACHER),
}
RULES = ("shortest", "low_perplexity", "high_perplexity")
CONTROLS = ("wrong_peer", "shuffled_peer", "other_problem", "framing_only", "itself")
GATES = ("all", "correct_only", "failed_only")
SHORT_WINDOWS = ("--prompt-tokens", "80", "--response-tokens", "64", "--code-response-tokens", "64")
QUIET = "--evaluation.every 0 --evaluation.problems 8 --evaluation.samples 1 --logging.rollouts-every 0"
LEAST = f"--checkpoints.every {STEPS} --checkpoints.keep 1 --logging.tensorboard False --verifier.workers 1"


@dataclass(frozen=True)
class Cell:
    """One training with its evaluation; `flags` are what differs from configs/tiny.py."""

    name: str
    seed: int
    rate: float
    flags: tuple[str, ...]

    @property
    def folder(self) -> str:
        """The directory's name."""
        return f"{self.name}-{self.rate:g}-{self.seed}"


@dataclass(frozen=True)
class Budget:
    """How much is asked of a model after training, and of the base before it."""

    questions: int = 128
    samples: int = 16
    base_samples: int = 64


def flags_of(name: str) -> tuple[str, ...]:
    """The flags of a cell by its name: a method, or hsd with a rule, a control and a gate behind plus signs."""
    method, *options = name.split("+")
    flags = METHODS[method]
    for option in options:
        kind = "peer-rule" if option in RULES else "control" if option in CONTROLS else "gate"
        flags += (f"--method.{kind}", option)
    return flags


def cell(name: str, seed: int, rate: float) -> Cell:
    """The cell of this name."""
    return Cell(name, seed, rate, flags_of(name))


def tuning() -> list[Cell]:
    """HSD and GRPO at every rate, on the seed that is not reported."""
    return [cell(method, TUNING, rate) for method in ("hsd", "grpo") for rate in RATES]


def control_names() -> list[str]:
    """What the study of controls compares: every control with every gate, and the four methods."""
    contexts = ("hsd", "opsd", *(f"hsd+{control}" for control in CONTROLS))
    gated = [context if gate == "all" else f"{context}+{gate}" for context in contexts for gate in GATES]
    return [*gated, "sdpo", "grpo"]


def train_command(one: Cell, folder: Path) -> list[str]:
    """The training of a cell."""
    fixed = [*QUIET.split(), *LEAST.split(), "--steps", str(STEPS), "--seed", str(one.seed)]
    where = ["--config", CONFIG, "--workdir", str(folder / one.folder), "--resume", "auto"]
    return ["hsd_jax.train", *where, *fixed, "--optimizer.learning-rate", f"{one.rate:g}", *one.flags]


def evaluate_command(checkpoint: str, out: Path, *, questions: int, samples: int, seed: int) -> list[str]:
    """The evaluation of a model on the tiny task's held-out questions."""
    asked = ["--benchmark", "tiny", "--problems", str(questions), "--samples", str(samples), "--seed", str(seed)]
    how = [*SHORT_WINDOWS, "--dtype", "float32", "--batch", "32", "--workers", "1"]
    return ["hsd_jax.evaluate", "--checkpoint", checkpoint, "--out", str(out), *asked, *how]


def base(folder: Path, seed: int, budget: Budget) -> Path:
    """The answers of the untrained model, made if they are not there."""
    out = folder / f"base-{seed}"
    asked = {"questions": budget.questions, "samples": budget.base_samples, "seed": 1000 + seed}
    _run(evaluate_command(MODEL, out, **asked), out / "result.json", folder / f"base-{seed}.log")
    return out / "answers.jsonl"


def finish(one: Cell, folder: Path, budget: Budget) -> bool:
    """Trains and evaluates a cell as far as it is not done; whether both came to their end."""
    log, out = folder / f"{one.folder}.log", folder / one.folder / "answers"
    trained = folder / one.folder / "checkpoints" / str(STEPS)
    asked = {"questions": budget.questions, "samples": budget.samples, "seed": 2000 + one.seed}
    evaluate = evaluate_command(str(folder / one.folder), out, **asked)
    return _run(train_command(one, folder), trained, log) and _run(evaluate, out / "result.json", log)


def right_of(answers: Path) -> dict[str, list[bool]]:
    """Question -> which of its samples were right."""
    lines = answers.read_text(encoding="utf-8").splitlines()
    return {one["id"]: [reward > 0.5 for reward in one["rewards"]] for one in map(json.loads, lines)}


def finished(folder: Path, one: Cell) -> bool:
    """Whether a cell has its evaluation."""
    return (folder / one.folder / "answers" / "result.json").is_file()


def _run(command: Sequence[str], result: Path, log: Path) -> bool:
    if result.exists():
        return True
    log.parent.mkdir(parents=True, exist_ok=True)
    print(f"python -m {' '.join(command)}", flush=True)
    with log.open("ab") as output:
        done = subprocess.run([sys.executable, "-m", *command], stdout=output, stderr=subprocess.STDOUT)
    if done.returncode != EXIT_DONE:
        print(f"failed with code {done.returncode}; see {log}", flush=True)
    return done.returncode == EXIT_DONE

"""The command line of `train`: a config file, a workdir, and a flag for every setting."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from hsd_jax.config import Config, load
from hsd_jax.runtime import cli


@dataclass(frozen=True)
class Arguments:
    """Where a run starts from and where it writes."""

    config: Path
    """A config file, e.g. configs/tiny.py."""
    workdir: str
    """Directory for checkpoints, metrics, rollouts and the report; may be a gs:// path."""
    settings: Annotated[Config, tyro.conf.arg(name=""), tyro.conf.FlagConversionOff] = field(metadata={"flat": True})
    """All settings of the config file."""
    resume: Literal["never", "auto"] = "never"
    """auto: continue from the newest good checkpoint of the workdir, or start if there is none."""
    resume_with_changes: bool = False
    """Continue although settings differ that change the numbers."""
    overwrite: bool = False
    """Discard the run that the workdir holds."""


def parse(argv: Sequence[str], *, about: str) -> Arguments:
    """The arguments; `--resume` alone means `--resume auto`.

    Raises: InputError in one line for anything that is not valid.
    """
    words = [*argv]
    for i, word in enumerate(argv):
        if word == "--resume" and (i + 1 == len(argv) or argv[i + 1].startswith("--")):
            words[i] = "--resume=auto"
    named = [argv[i + 1] for i, word in enumerate(argv[:-1]) if word == "--config"]
    named += [word.split("=", 1)[1] for word in argv if word.startswith("--config=")]
    base = load(named[0]) if named else Config()
    default = Arguments(tyro.MISSING, tyro.MISSING, base)
    return cli.parse(Arguments, words, default=default, command="train", about=about)


def resume_command(argv: Sequence[str]) -> str:
    """The command that continues a run that was started with `argv`."""
    once = ("--overwrite", "--resume", "--resume-with-changes")
    kept = [
        word
        for before, word in zip(["", *argv], argv, strict=False)
        if word not in once and not word.startswith("--resume=") and (before != "--resume" or word.startswith("--"))
    ]
    return shlex.join(["python", "-m", "hsd_jax.train", *kept, "--resume", "auto"])

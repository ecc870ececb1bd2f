"""The command line of `train`: a config file, a workdir, and a flag for every setting."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

from hsd_jax.config import Config
from hsd_jax.runtime import cli, paths


@dataclass(frozen=True)
class Arguments:
    """Where a run starts from and where it writes."""

    config: Annotated[str, paths.GIVEN]
    """A config file, e.g. configs/tiny.py."""
    workdir: Annotated[str, paths.GIVEN]
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
    default = Arguments(tyro.MISSING, tyro.MISSING, cli.named_config(argv))
    given = cli.parse(Arguments, words, default=default, command="train", about=about)
    paths.check_writable(given.workdir, "--workdir")
    return given


def resume_command(argv: Sequence[str]) -> str:
    """The command that continues a run that was started with `argv`."""
    once = ("--overwrite", "--resume", "--resume-with-changes")
    kept = [
        word
        for before, word in zip(["", *argv], argv, strict=False)
        if word not in once and not word.startswith("--resume=") and (before != "--resume" or word.startswith("--"))
    ]
    return shlex.join(["python", "-m", "hsd_jax.train", *kept, "--resume", "auto"])

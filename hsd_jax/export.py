"""Exports a checkpoint as a Hugging Face directory: config.json, safetensors, tokenizer.

python -m hsd_jax.export --checkpoint runs/tiny --out exported/tiny
python -m hsd_jax.export --checkpoint runs/lora --out exported/adapters --form peft
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from hsd_jax.errors import EXIT_DONE, InputError
from hsd_jax.runtime import cli, paths
from hsd_jax.setup import trained
from models import lora
from models.hf_write import save_params


@dataclass(frozen=True)
class Export:
    """What to export, and where to."""

    checkpoint: Annotated[str, paths.GIVEN]
    """A workdir (its newest good checkpoint is taken) or one checkpoint of it, <workdir>/checkpoints/<step>."""
    out: Annotated[str, paths.GIVEN]
    """The directory to write; it must not exist, or be empty."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """float32 keeps the master weights to the bit; bfloat16 is half the size, and what serving engines compute in."""
    form: Literal["model", "peft"] = "model"
    """A whole model, adapters merged; or the adapters alone, as the package `peft` loads them onto the model."""


def main(argv: Sequence[str]) -> int:
    """Runs the command. Raises: InputError when there is nothing to export or the target is taken."""
    about = "Writes a checkpoint as a Hugging Face directory with its tokenizer."
    export(cli.parse(Export, argv, command="export", about=about))
    return EXIT_DONE


def export(options: Export) -> None:
    """Writes the directory; it appears under its name only when it is complete."""
    out = paths.check_local(options.out, "--out")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"--out {out} already holds something; name a directory that does not exist, or is empty")
    paths.check_writable(out.parent, "--out")
    part = out.with_name(out.name + ".part")
    said = FORMS[options.form](options, part)
    if out.exists():
        out.rmdir()
    part.rename(out)
    print(f"{out}: {said}")


def write_model(options: Export, part: Path) -> str:
    """Writes all weights and the tokenizer; says what they are."""
    config, params, source = trained.restore_params(options.checkpoint)
    save_params(config, params, part, source=source, dtype=options.dtype)
    return f"{config.layers} layers, {options.dtype}, tokenizer of {source}"


def write_peft(options: Export, part: Path) -> str:
    """Writes the adapters alone; says what they are. Raises: InputError where all weights have trained."""
    held = trained.read(options.checkpoint)
    if not held.lora.rank:
        raise InputError(f"--form peft: all weights of {options.checkpoint} have trained; take --form model")
    lora.save(held.lora, held.params, part, base=held.source, dtype=options.dtype)
    return f"adapters of rank {held.lora.rank} on {', '.join(held.lora.targets)}, {options.dtype}, for {held.source}"


FORMS = {"model": write_model, "peft": write_peft}


if __name__ == "__main__":
    cli.run(main)

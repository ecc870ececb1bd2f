"""Writes what a run can show as one HTML file: curves, health, the paper's figures, and every recorded rollout.

    python -m hsd_jax.report --workdir runs/tiny
    python -m hsd_jax.report --workdir runs/hsd --compare runs/grpo runs/opsd --figures
    python -m hsd_jax.report --workdir gs://BUCKET/runs/hsd-8b
    python -m hsd_jax.report --serve runs/tiny
    python -m hsd_jax.report --before-you-train --config configs/tiny.py

The file loads nothing and opens from disk; --serve shows it in this machine's browser and renews it while the run goes
on. The last form trains nothing: it samples a few groups with the untrained model and says whether the method can help
there.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from etils import epath

from hsd_jax.errors import EXIT_DONE, InputError
from hsd_jax.reporting import live
from hsd_jax.reporting.write import MEGABYTE, live_page, write_page
from hsd_jax.runtime import cli, paths


@dataclass(frozen=True)
class Arguments:
    """What to read and what to write."""

    workdir: Annotated[str | None, paths.GIVEN] = None
    """Directory of the run to show, may be gs://; with --before-you-train, where to keep what was sampled (default:
    nowhere)."""
    compare: Annotated[tuple[str, ...], paths.GIVEN] = ()
    """Further runs whose curves and credit are laid over this one's."""
    figures: bool = False
    """Also write every figure as PNG, SVG and CSV next to the page."""
    out: Annotated[str | None, paths.GIVEN] = None
    """Directory to write to; by default WORKDIR/report."""
    max_megabytes: float = 24.0
    """Largest size of the page; when rollouts do not all fit, some of every step are kept and the page says so."""
    serve: Annotated[str | None, paths.GIVEN] = None
    """Directory of a run whose page is served, and renewed while the run goes on, until Ctrl-C; nothing is written."""
    host: str = "127.0.0.1"
    """Address to serve at; by default this machine alone reaches it. Others than the loopback show it to a network."""
    port: int = 8000
    """Port to serve at; 0 takes a free one."""
    before_you_train: bool = False
    """Sample a few groups with the untrained model of --config and predict whether the method can help."""
    config: Annotated[str | None, paths.GIVEN] = None
    """The config file whose run is to be predicted; only with --before-you-train."""
    problems: int = 32
    """Groups to sample for the prediction; only with --before-you-train."""


def write_report(arguments: Arguments) -> list[epath.Path]:
    """Writes index.html (and with `figures` the pictures); returns the paths written, the page first.

    Raises: InputError when a directory does not exist or the size is not positive.
    """
    if arguments.workdir is None:
        raise InputError("--workdir is missing: name the directory of the run to show")
    if arguments.max_megabytes <= 0:
        raise InputError(f"--max-megabytes must be above 0; got {arguments.max_megabytes}")
    return write_page(
        arguments.workdir,
        out=arguments.out,
        compare=arguments.compare,
        with_figures=arguments.figures,
        max_megabytes=arguments.max_megabytes,
    )


def main(argv: Sequence[str]) -> int:
    """The command; returns its exit code."""
    arguments = cli.parse(Arguments, argv, command="report", about=__doc__ or "")
    if arguments.serve is not None:
        return serve(arguments)
    if (arguments.host, arguments.port) != (Arguments.host, Arguments.port):
        raise InputError("--host and --port belong to --serve; name the run's directory there")
    if arguments.out:
        paths.check_writable(arguments.out, "--out")
    elif arguments.workdir:
        paths.check_writable(epath.Path(arguments.workdir) / "report", "--workdir")
    if arguments.before_you_train:
        paths.check_local(arguments.workdir or "", "--workdir")
        run_preflight(arguments)
        return EXIT_DONE if arguments.workdir is None else _announce(arguments)
    if arguments.config is not None:
        raise InputError("--config belongs to --before-you-train; a run's own settings are in its workdir")
    return _announce(arguments)


def serve(arguments: Arguments) -> int:
    """Serves a run's page until Ctrl-C. Raises: InputError for a missing directory, or an address that is taken."""
    if any((arguments.workdir, arguments.out, arguments.figures, arguments.before_you_train, arguments.config)):
        raise InputError(
            "--serve writes nothing and trains nothing: give it alone, or with --compare, --host and --port"
        )
    run = live_page(arguments.serve or "", arguments.compare, arguments.max_megabytes)
    with live.start(run, host=arguments.host, port=arguments.port) as server:
        print(
            f"serving {arguments.serve} at http://{arguments.host}:{server.server_port}/ (Ctrl-C ends it)", flush=True
        )
        if not live.is_local(arguments.host):
            print("everyone who reaches this machine sees the page: it holds the run's texts", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
    return EXIT_DONE


def run_preflight(arguments: Arguments) -> None:
    """Samples, judges and prints; keeps what was sampled in the workdir, if there is one.

    Raises: InputError without a config file, or when the workdir holds a run.
    """
    # Only here: a page about a finished run needs no model, no accelerator and none of their seconds of import.
    from hsd_jax.run import preflight
    from hsd_jax.setup.build import build_components

    if arguments.config is None:
        raise InputError("--before-you-train needs --config, e.g. --config configs/tiny.py")
    config = cli.load_config(arguments.config)
    if arguments.workdir is not None:
        preflight.check_free(Path(arguments.workdir))
    prognosis = preflight.preflight(config, arguments.problems, build_components)
    print(preflight.as_text(prognosis))
    if arguments.workdir is not None:
        preflight.write(prognosis, Path(arguments.workdir), config)


def _announce(arguments: Arguments) -> int:
    page, *pictures = write_report(arguments)
    size = page.stat().length / MEGABYTE
    print(f"wrote {page} ({size:.1f} MB)" + (f" and {len(pictures)} figure files next to it" if pictures else ""))
    return EXIT_DONE


if __name__ == "__main__":
    cli.run(main)

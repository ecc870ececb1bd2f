"""A pretended cloud for the pod scripts: a checkout, and a `gcloud` whose ssh runs the worker's side here."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.paths import ROOT

SETTINGS = {
    "HSD_PROJECT": "p", "HSD_ZONE": "us-east5-a", "HSD_BUCKET": "gs://b", "HSD_CONFIG": "configs/tiny.py",
    "HSD_POLL_SECONDS": "0", "HSD_SSH_PAUSE_SECONDS": "0", "HSD_USER": "",
}  # fmt: skip

# What a worker's programs do here: uv makes a "python" that is the training of a test. Where FAKE_CLOUD/uv_fails is, it
# fails once.
FAKE_UV = """#!/bin/bash
if [[ $1 != pip ]] && mv "$FAKE_CLOUD/uv_fails" "$FAKE_CLOUD/uv_failed" 2>/dev/null; then exit 1; fi
case "$1 $2" in
  "venv "*) mkdir -p "${@: -1}/bin"; cp "$FAKE_BIN/training" "${@: -1}/bin/python" ;;
  "pip freeze") echo "jax==0.10.2${FAKE_DRIFT:+ $FAKE_HOST}" ;;
esac
"""
FAKE_TRAINING = """#!/bin/bash
# The pretended training: says what it was given, then ends with the code in FAKE_CLOUD/code, or waits for SIGTERM.
echo "step 1 of $*"
trap 'echo saving; sleep 0.2; echo saved; exit 3' TERM
code=$(cat "$FAKE_CLOUD/code" 2>/dev/null || true)
if [[ -n $code ]]; then exit "$code"; fi
for _ in {1..600}; do sleep 0.05; done
"""


@dataclass(frozen=True)
class Cloud:
    """A pretended cloud with a checkout that uses it."""

    home: Path
    checkout: Path
    environment: dict[str, str]

    def write(self, name: str, text: str) -> None:
        """Writes a file that steers the stand-in gcloud."""
        (self.home / name).write_text(text)

    def script(self, name: str, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Runs one of the scripts to its end."""
        return subprocess.run(
            [self.checkout / "tpu_scripts" / name, *arguments], env={**self.environment, **settings},
            capture_output=True, text=True, timeout=180, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def calls(self, *words: str) -> list[list[str]]:
        """The calls of gcloud so far that hold these words."""
        path = self.home / "calls.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [call for call in map(json.loads, lines) if set(words) <= set(call)]

    @property
    def exists(self) -> bool:
        """Whether there is a queued resource."""
        return (self.home / "resource.json").exists()

    def resource(self, state: str, owner: str = "hsd", kind: str = "v5p-128") -> None:
        """Makes a queued resource, or changes it."""
        self.write("resource.json", json.dumps({"state": state, "owner": owner, "type": kind}))

    def word(self) -> str:
        """The last line of status.sh."""
        return self.script("status.sh").stdout.splitlines()[-1]

    def wait_for(self, word: str) -> None:
        """Waits until the run's word is this one."""
        deadline = time.monotonic() + 20
        while (shown := self.word()) != f"run: {word}":
            assert time.monotonic() < deadline, shown
            time.sleep(0.05)


def executable(path: Path, text: str) -> None:
    """Writes a program."""
    path.write_text(text)
    path.chmod(0o755)


def commit(checkout: Path) -> None:
    """Makes a folder a git repository with one commit of all its files."""
    git = ["git", "-C", str(checkout), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *words], check=True)


def minimal_checkout(checkout: Path) -> None:
    """A repository with no more than the scripts read; its installation of system packages is a stand-in too."""
    for folder in ("tools", "configs"):
        (checkout / folder).mkdir(parents=True)
    shutil.copytree(ROOT / "tpu_scripts", checkout / "tpu_scripts")
    for name in ("requirements.txt", "requirements.lock"):
        shutil.copy(ROOT / name, checkout / name)
    executable(checkout / "tools" / "install_system_packages.sh", 'echo "$FAKE_HOST" >>"$FAKE_CLOUD/installed"\n')
    (checkout / "configs" / "tiny.py").write_text("config = None\n")
    (checkout / ".gitignore").write_text("runs/\n")
    commit(checkout)


@contextmanager
def running(folder: Path, checkout: Path, training: str, settings: Mapping[str, str]) -> Iterator[Cloud]:
    """The cloud of a checkout, whose workers' python is the program `training`; in the end trainings are killed."""
    home, binaries = folder / "cloud", folder / "bin"
    for place in (home, binaries):
        place.mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "support" / "fakes" / "gcloud", binaries / "gcloud")
    executable(binaries / "uv", FAKE_UV)
    executable(binaries / "training", training)
    executable(binaries / "sudo", '#!/bin/bash\nexec env "$@"\n')
    executable(binaries / "hostname", '#!/bin/bash\necho "$FAKE_HOST"\n')
    environment = {
        "PATH": f"{binaries}:{os.environ['PATH']}", "HOME": str(folder), "HSD_HOME": f"{home}/vm/WORKER",
        "FAKE_CLOUD": str(home), "FAKE_BIN": str(binaries), **settings,
    }  # fmt: skip
    try:
        yield Cloud(home, checkout, environment)
    finally:
        for file in home.glob("vm/*/run/pid"):
            subprocess.run(["kill", "-KILL", file.read_text()], stderr=subprocess.DEVNULL)

"""A weekend on a pod in miniature: a tiny run under `tpu_scripts/watch.sh`, random faults, and the run without any.

python -m benchmarks.weekend [--faults 200] [--workers 1] [--seed 0] [--minutes 600] [--folder DIR]

The workers are processes of this machine behind a stand-in `gcloud`, the bucket is an emulator; scripts, training and
clients of the storage are the real ones. Two in three faults come when the run has made a step since the one before,
the others while it still recovers. Fails (exit code 1) where `watch` gives up, no step is made for five minutes, or
metrics, rollouts and weights differ by a bit from the undisturbed run's. `--minutes` ends the faults early; with a
folder it ends the sitting (exit code 3), and the same command goes on from there, as after a power failure.
"""

import argparse
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from etils import epath

from benchmarks.weekend_faults import FAULTS, RUN, Weekend, signal_session
from benchmarks.weekend_outcome import differences
from tests.support import fake_cloud, gcs_emulator, xla_flags
from tests.support.paths import ROOT
from tests.support.ports import free_port

STUCK_SECONDS = 300
PAUSED = 3
CODE = ("hsd_jax", "models", "configs", "assets", "tpu_scripts", "requirements.txt", "requirements.lock")
SMALL = [
    *("--data.problems-per-step", "2", "--sampling.group-size", "2", "--sampling.response-tokens", "16"),
    *("--sampling.chunk", "16", "--data.context-tokens", "160", "--data.min-peer-tokens", "4"),
    *("--optimizer.loss-chunk", "64", "--evaluation.problems", "4", "--evaluation.samples", "1"),
    *("--evaluation.every", "20", "--checkpoints.every", "2", "--checkpoints.keep", "3"),
    *("--logging.rollouts-every", "5", "--verifier.workers", "1"),
]
# What a worker's python is: this one, at its place among the processes of the run.
TRAINING = """#!/bin/bash
unset HSD_DISTRIBUTED
if ((FAKE_WORKERS > 1)); then
  export JAX_COORDINATOR_ADDRESS=127.0.0.1:$FAKE_PORT JAX_NUM_PROCESSES=$FAKE_WORKERS JAX_PROCESS_ID=${FAKE_HOST##*-w}
fi
exec "$FAKE_PYTHON" "$@"
"""


@dataclass(frozen=True)
class Seen:
    """How a weekend went: faults by name, the longest time without a step, and what `watch` said and ended with.

    `paused`: its minutes were over before it was.
    """

    faults: Counter[str]
    longest: float
    code: int | None
    said: str
    paused: bool


@dataclass(frozen=True)
class Kept:
    """What goes on in another sitting: the faults that have been, and the bucket as it was after the last of them."""

    path: Path
    faults: int
    workers: int
    seed: int

    def read(self) -> tuple[Counter[str], Any]:
        """The faults and the storage; none of either at the beginning."""
        if not self.path.exists():
            return Counter(), None
        asked, done, storage = pickle.loads(self.path.read_bytes())
        if asked != (self.faults, self.workers, self.seed):
            sys.exit(f"{self.path.parent} holds a weekend of (faults, workers, seed) {asked}; give these, or no folder")
        return done, storage

    def write(self, weekend: Weekend, done: Counter[str]) -> None:
        """Keeps them."""
        part = self.path.with_suffix(".part")
        with weekend.storage.lock:
            part.write_bytes(pickle.dumps(((self.faults, self.workers, self.seed), done, weekend.storage.storage)))
        part.replace(self.path)


def main() -> int:
    """Runs the undisturbed run and the weekend, and compares them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=600)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    steps = 2 * -(-given.faults // 2) + 2
    with ExitStack() as stack:
        folder = given.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="weekend-")))
        folder = folder.absolute()
        folder.mkdir(parents=True, exist_ok=True)
        kept = Kept(folder / "kept.pickle", given.faults, given.workers, given.seed)
        variables = worker_variables(folder, given.workers)
        whole = undisturbed(folder, variables, steps, given.workers)
        print(f"the undisturbed run: {steps} steps, {given.workers} processes", flush=True)
        before, held = kept.read()
        storage = stack.enter_context(gcs_emulator.running(held))
        os.environ.update(storage.environment)
        sitting = Path(tempfile.mkdtemp(prefix="sitting-", dir=folder))
        random = np.random.default_rng([given.seed, before.total()])
        weekend = stack.enter_context(watched(sitting, variables | storage.environment, storage, random, steps))
        seen = disturb(weekend, before, given, steps, partial(kept.write, weekend))
        listing = ", ".join(f"{fault} {count}" for fault, count in sorted(seen.faults.items()))
        print(f"faults          {seen.faults.total()}: {listing}")
        print(f"longest         {seen.longest:.0f} s without a step")
        if seen.paused:
            print("the minutes are over; the same command goes on")
            return PAUSED
        print(f"watch           ended with code {seen.code}")
        if seen.code != 0:
            print(seen.said[-4000:], *tails(weekend), sep="\n")
            return 1
        differing = differences(whole, epath.Path(f"gs://{gcs_emulator.BUCKET}/{RUN}"), steps)
        print(f"differences     {'; '.join(differing) or 'none'}")
        return int(bool(differing))


def worker_variables(folder: Path, workers: int) -> dict[str, str]:
    """What every training finds in its environment."""
    return {
        "FAKE_PYTHON": sys.executable, "FAKE_WORKERS": str(workers), "FAKE_PORT": str(free_port()),
        "JAX_PLATFORMS": "cpu", "XLA_FLAGS": xla_flags.devices(2 // workers), "HSD_JAX_DATA": str(folder / "data"),
        "HSD_CACHE": str(folder / "compiled"), "HSD_LOG_SECONDS": "30",
    }  # fmt: skip


def undisturbed(folder: Path, variables: dict[str, str], steps: int, workers: int) -> epath.Path:
    """The run that nothing happens to, in a local directory; its compiled programs are there for the other one."""
    over = folder / "whole-is-over"
    if over.exists():
        return epath.Path(folder / "whole")
    shutil.rmtree(folder / "whole", ignore_errors=True)
    command = [sys.executable, "-m", "hsd_jax.train", "--config", "configs/tiny.py", *SMALL, "--steps", str(steps)]
    command += ["--workdir", str(folder / "whole")]
    running = []
    for k in range(workers):
        place = {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{variables['FAKE_PORT']}", "JAX_NUM_PROCESSES": str(workers)}
        place |= {"JAX_PROCESS_ID": str(k)}
        known = {**os.environ, **variables, "JAX_COMPILATION_CACHE_DIR": variables["HSD_CACHE"]}
        known |= place if workers > 1 else {}
        with (folder / f"whole-{k}.txt").open("w") as said:
            running.append(subprocess.Popen(command, cwd=ROOT, env=known, stdout=said, stderr=said))
    if any([process.wait() for process in running]):
        sys.exit("the undisturbed run failed: " + (folder / "whole-0.txt").read_text()[-2000:])
    over.touch()
    return epath.Path(folder / "whole")


@contextmanager
def watched(
    folder: Path, variables: dict[str, str], storage: gcs_emulator.Cloud, random: np.random.Generator, steps: int
) -> Iterator[Weekend]:
    """A slice that was asked for, and `watch` over the run on it."""
    checkout = folder / "checkout"
    for name in CODE:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / name, checkout / name)
    (checkout / "tools").mkdir()
    fake_cloud.executable(checkout / "tools" / "install_system_packages.sh", "true\n")
    (checkout / ".gitignore").write_text("runs/\n__pycache__/\n")
    fake_cloud.commit(checkout)
    settings = fake_cloud.SETTINGS | variables | {"HSD_BUCKET": f"gs://{gcs_emulator.BUCKET}"}
    settings |= {"HSD_POLL_SECONDS": "2", "HSD_SSH_PAUSE_SECONDS": "0.2", "HSD_PARTLY_LOOKS": "30"}
    with fake_cloud.running(folder, checkout, TRAINING, settings) as cloud:

        def begin() -> subprocess.Popen[str]:
            words = [checkout / "tpu_scripts" / "watch.sh", "--", *SMALL, "--steps", str(steps)]
            with (folder / "watch.txt").open("a") as said:
                return subprocess.Popen(
                    words, env=cloud.environment, text=True, stdout=said, stderr=said, start_new_session=True
                )

        created = cloud.script("create.sh")
        if created.returncode:
            sys.exit(created.stderr)
        weekend = Weekend(cloud, storage, random, begin, begin())
        try:
            yield weekend
        finally:
            signal_session(weekend.watch.pid, signal.SIGKILL)


def disturb(
    weekend: Weekend, done: Counter[str], given: argparse.Namespace, steps: int, keep: Callable[[Counter[str]], None]
) -> Seen:
    """Lets the faults happen, one for each step or so, and waits for the end."""
    end, faults, paused = time.monotonic() + 60 * given.minutes, given.faults, False
    made, since, longest = 0, time.monotonic(), 0.0
    due, at_once = max(1, done.total() * steps // faults), False
    while weekend.watch.poll() is None and not paused:
        now = time.monotonic()
        if (step := step_of(weekend)) != made:
            made, since = step, now
        longest = max(longest, now - since)
        if now - since > STUCK_SECONDS:
            break
        paused = bool(given.folder) and now >= end
        if done.total() < faults and now < end and (at_once or made >= min(due, steps - 2)):
            time.sleep(weekend.seconds(4 if at_once else 1))
            fault = weekend.one_of(FAULTS)
            if fault(weekend):
                done[fault.__name__] += 1
                keep(done)
                say(weekend, f"=== fault {done.total()} at step {made}: {fault.__name__}")
                due, at_once = done.total() * steps // faults, bool(weekend.random.random() < 1 / 3)
        time.sleep(0.1)
    return Seen(done, longest, weekend.watch.poll(), transcript(weekend).read_text(), paused)


def transcript(weekend: Weekend) -> Path:
    """What `watch` says, with the faults between its lines."""
    return weekend.cloud.home.parent / "watch.txt"


def say(weekend: Weekend, words: str) -> None:
    """A line among those of `watch`, and on the screen."""
    print(words, flush=True)
    with transcript(weekend).open("a") as file:
        file.write(f"{words}\n")


def step_of(weekend: Weekend) -> int:
    """The newest step in the run's metrics."""
    with weekend.storage.lock:
        name = f"{RUN}/metrics.jsonl"
        held = weekend.storage.storage.get_file(gcs_emulator.BUCKET, name) if weekend.storage.names(name) else b""
    return max(held.count(b"\n") - 1, 0)


def tails(weekend: Weekend) -> list[str]:
    """The last lines of every worker's log."""
    files = sorted(weekend.cloud.home.glob("vm/*/run/train.log"))
    said = ["\n".join([str(file.parents[1].name), *file.read_text().splitlines()[-40:]]) for file in files]
    codes = sorted(weekend.cloud.home.glob("vm/*/run/exit_code"))
    return [*said, *(f"{file.parents[1].name} ended with code {file.read_text()}" for file in codes)]


if __name__ == "__main__":
    sys.exit(main())

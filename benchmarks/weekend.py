"""A weekend on a pod in miniature: a tiny run under `tpu_scripts/watch.sh`, random faults, and the run without any.

python -m benchmarks.weekend [--faults 200] [--workers 1] [--seed 0] [--minutes 600]

The workers are processes of this machine behind a stand-in `gcloud`, the bucket is an emulator; scripts, training and
clients of the storage are the real ones. Two in three faults come when the run has made a step since the one before,
the others while it still recovers. Fails (exit code 1) where `watch` gives up, no step is made for five minutes, or
metrics, rollouts and weights differ by a bit from the undisturbed run's. `--minutes` ends the faults early.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from etils import epath

from benchmarks.weekend_faults import FAULTS, RUN, Weekend, signal_session
from hsd_jax.runtime import checkpoint
from tests.support import fake_cloud, gcs_emulator, xla_flags
from tests.support.paths import ROOT
from tests.support.ports import free_port
from tests.support.train_process import OF_TIME

STUCK_SECONDS = 300
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
    """How a weekend went: faults by name, the longest time without a step, and what `watch` said and ended with."""

    faults: Counter[str]
    longest: float
    code: int | None
    said: str


def main() -> int:
    """Runs the undisturbed run and the weekend, and compares them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=600)
    given = parser.parse_args()
    steps = 2 * -(-given.faults // 2) + 2
    with tempfile.TemporaryDirectory(prefix="weekend-") as name, ExitStack() as stack:
        folder = Path(name)
        variables = worker_variables(folder, given.workers)
        whole = undisturbed(folder, variables, steps, given.workers)
        print(f"the undisturbed run: {steps} steps, {given.workers} processes", flush=True)
        storage = stack.enter_context(gcs_emulator.running())
        os.environ.update(storage.environment)
        weekend = stack.enter_context(watched(folder, variables | storage.environment, storage, given.seed, steps))
        seen = disturb(weekend, given.faults, steps, given.minutes)
        listing = ", ".join(f"{fault} {count}" for fault, count in sorted(seen.faults.items()))
        print(f"faults          {seen.faults.total()}: {listing}")
        print(f"longest         {seen.longest:.0f} s without a step")
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
    return epath.Path(folder / "whole")


@contextmanager
def watched(
    folder: Path, variables: dict[str, str], storage: gcs_emulator.Cloud, seed: int, steps: int
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
        weekend = Weekend(cloud, storage, np.random.default_rng(seed), begin, begin())
        try:
            yield weekend
        finally:
            signal_session(weekend.watch.pid, signal.SIGKILL)


def disturb(weekend: Weekend, faults: int, steps: int, minutes: float) -> Seen:
    """Lets the faults happen, one for each step or so, and waits for the end."""
    end, done = time.monotonic() + 60 * minutes, Counter[str]()
    made, since, longest = 0, time.monotonic(), 0.0
    due, at_once = 1, False
    while weekend.watch.poll() is None:
        now = time.monotonic()
        if (step := step_of(weekend)) != made:
            made, since = step, now
        longest = max(longest, now - since)
        if now - since > STUCK_SECONDS:
            break
        if done.total() < faults and now < end and (at_once or made >= min(due, steps - 2)):
            time.sleep(weekend.seconds(4 if at_once else 1))
            fault = weekend.one_of(FAULTS)
            if fault(weekend):
                done[fault.__name__] += 1
                say(weekend, f"=== fault {done.total()} at step {made}: {fault.__name__}")
                due, at_once = done.total() * steps // faults, bool(weekend.random.random() < 1 / 3)
        time.sleep(0.1)
    return Seen(done, longest, weekend.watch.poll(), transcript(weekend).read_text())


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
    return ["\n".join([str(file.parents[1].name), *file.read_text().splitlines()[-40:]]) for file in files]


def differences(whole: epath.Path, other: epath.Path, steps: int) -> list[str]:
    """In what two runs differ: lines of metrics (but for times), files of rollouts, arrays of the last checkpoint."""
    mine, theirs = lines(other), lines(whole)
    found = [f"{len(mine)} lines instead of {len(theirs)}"] if len(mine) != len(theirs) else []
    found += [f"metrics of step {b['step']}" for a, b in zip(mine, theirs, strict=False) if a != b]
    rollouts = [{file.name: file.read_bytes() for file in (root / "rollouts").iterdir()} for root in (whole, other)]
    names = rollouts[0].keys() | rollouts[1].keys()
    found += [f"rollouts/{name}" for name in sorted(names) if rollouts[0].get(name) != rollouts[1].get(name)]
    if checkpoint.latest_valid_step(other / "checkpoints") != steps:
        return [*found, "no last checkpoint"]
    a, b = (arrays(root / "checkpoints" / str(steps) / "state") for root in (whole, other))
    if a.keys() != b.keys():
        return [*found, "the arrays of the last checkpoint"]
    return found + [name for name in a if not np.array_equal(a[name], b[name])]


def lines(workdir: epath.Path) -> list[dict[str, Any]]:
    """The metrics without what depends on the machine's speed."""
    read = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return [{name: value for name, value in line.items() if not name.startswith(OF_TIME)} for line in read]


def arrays(folder: epath.Path) -> dict[str, np.ndarray]:
    """Every array of a state by its path, on the host."""
    import jax
    import orbax.checkpoint as ocp

    with ocp.PyTreeCheckpointer() as reader:
        tree = reader.metadata(folder).item_metadata.tree
        how = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
        read = reader.restore(folder, args=ocp.args.PyTreeRestore(restore_args=how))
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(read)}


if __name__ == "__main__":
    sys.exit(main())

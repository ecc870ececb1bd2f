"""The checkpoints of a run: when one is due, and all that a continuation needs besides the state."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import jax
from etils import epath

from hsd_jax.config import Config
from hsd_jax.runtime import checkpoint, faults, multihost
from hsd_jax.runtime.timing import Clock
from hsd_jax.runtime.workdir import Workdir
from hsd_jax.update.frozen import without_frozen
from hsd_jax.update.state import TrainState


@dataclass
class Checkpointing:
    """`facts` are what a run was begun with, `row_sizes` the sizes of rows met so far."""

    config: Config
    path: epath.Path
    store: checkpoint.Store
    facts: Mapping[str, Any]
    row_sizes: Callable[[], list[Any]]
    clock: Clock
    saved_at: float = field(default_factory=time.monotonic)

    def is_due(self, step: int) -> bool:
        """Every so many steps, every so many minutes by the clock of process 0, and at the end."""
        settings = self.config.checkpoints
        if step == self.config.steps or step % settings.every == 0:
            return True
        late = time.monotonic() - self.saved_at >= 60 * settings.every_minutes
        return bool(settings.every_minutes) and multihost.gather(f"save/{step}", late)[0]

    def save(self, state: TrainState, step: int, score: float | None) -> None:
        """Starts writing a checkpoint; its score is that of its own step, if any."""
        started = json.loads((self.path / "config.json").read_text())
        meta = {"step": step, "row_sizes": self.row_sizes(), **self.facts, **started}
        with self.clock.phase("save"), jax.transfer_guard("allow"):  # Orbax moves arrays in its own way
            checkpoint.save(self.store, step, without_frozen(state), meta, score=score)
        self.saved_at = time.monotonic()

    def save_once(self, state: TrainState, step: int, score: float | None) -> None:
        """Saves the state of a step that is over, unless there is such a checkpoint; before step 1 there is no need."""
        if step > 0 and self.store.manager.latest_step() != step:
            self.save(state, step, score)

    def add_score(self, step: int, score: float) -> None:
        """Gives the score to a checkpoint that was written without."""
        with self.clock.phase("save"):
            checkpoint.add_score(self.store, step, score)

    def write_manifests(self) -> None:
        """Seals what has been written meanwhile."""
        with faults.stage("save"):
            checkpoint.write_manifests(self.store)

    def close(self) -> None:
        """Waits for the last checkpoint."""
        with self.clock.phase("save"):
            checkpoint.close(self.store)


@contextmanager
def open_checkpoints(config: Config, workdir: Workdir, resume: str) -> Iterator[checkpoint.Store]:
    """The run's checkpoints: a write that fails ends the run, a run that fails ends its write."""
    kept = config.checkpoints
    store = checkpoint.open_store(workdir.checkpoints, keep=kept.keep, keep_every=kept.keep_every, resume=resume)
    with checkpoint.watched(store, multihost.leave), checkpoint.finishing(store):
        yield store

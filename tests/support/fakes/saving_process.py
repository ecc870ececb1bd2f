"""One of two processes that save a checkpoint together: `saving_process.py WORKDIR STEP_SECONDS`.

It saves steps 5 and 10 and then works on one long step; its place is in the environment.
"""

import os
import time

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from hsd_jax.runtime import checkpoint, cli, faults, multihost


def state_of(step: int) -> dict[str, jax.Array]:
    rows = NamedSharding(Mesh(np.array(jax.devices()), "d"), P("d"))
    return {"x": jax.make_array_from_process_local_data(rows, np.full(2, step, np.float32))}


def main(argv: list[str]) -> int:
    with multihost.distributed_session(multihost.from_environment(os.environ), start_seconds=60, heartbeat_seconds=4):
        store = checkpoint.open_store(f"{argv[0]}/checkpoints")
        with checkpoint.finishing(store), checkpoint.watched(store, multihost.leave, grace=1.0):
            checkpoint.save(store, 5, state_of(5), {"step": 5})
            store.manager.wait_until_finished()
            checkpoint.save(store, 10, state_of(10), {"step": 10})
            deadline = time.monotonic() + float(argv[1])
            while time.monotonic() < deadline:
                time.sleep(0.1)
            checkpoint.close(store)
    return 0


cli.run(main, leave=faults.hard_exit)

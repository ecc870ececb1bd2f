"""One process for tests/runtime/test_multihost.py: `process.py CASE`, with its place in the environment."""

import os
import time

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from hsd_jax.errors import InputError
from hsd_jax.runtime import cli, multihost


def total(me: int) -> float:
    """A sum over the devices of all processes."""
    mesh = Mesh(np.array(jax.devices()), "d")
    rows = jax.make_array_from_process_local_data(NamedSharding(mesh, P("d")), np.full(2, me + 1, np.float32))
    return float(jax.jit(jnp.sum)(rows))


def body(case: str) -> None:
    me = jax.process_index()
    match case:
        case "decide":
            print("sum", total(me), multihost.gather("n", {"me": me}), flush=True)
            print("stop", multihost.any_host("stop/1", me == 1), multihost.any_host("stop/2", False), flush=True)
            multihost.same_everywhere("step", 4)
        case "differ":
            multihost.same_everywhere("step", me)
        case "silent" if me == 1:
            time.sleep(30)
        case "silent":
            multihost.gather("stop/1", True, seconds=2)
        case "refuse" if me == 1:
            raise InputError("data.path: not on this host")
        case "killed" if me == 1:
            os.kill(os.getpid(), 9)
        case _:
            time.sleep(60)


def main(argv: list[str]) -> int:
    place = multihost.from_environment(os.environ)
    with multihost.distributed_session(place, start_seconds=float(os.environ.get("START", "30")), heartbeat_seconds=10):
        body(argv[0])
    return 0


cli.run(main)

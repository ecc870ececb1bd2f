"""Host arrays on the devices of a mesh, in runs of one or several processes."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from hsd_jax.types import Array
from models.sharding import batch_sharding, replicated


def global_array(mesh: Mesh) -> Callable[[Any], Any]:
    """Puts this process's rows of a batch on the mesh: host arrays [p, ...] -> one global array [P, ...]."""
    rows = batch_sharding(mesh)

    def put(tree: Any) -> Any:
        with jax.transfer_guard_host_to_device("allow"):  # with several processes JAX calls this transfer implicit
            return jax.tree.map(lambda x: jax.make_array_from_process_local_data(rows, np.asarray(x)), tree)

    return put


def replicate(mesh: Mesh, tree: Any) -> Any:
    """Puts host arrays, the same in every process, whole on every device of the mesh."""

    def put(x: Any) -> jax.Array:
        x = np.asarray(x)
        return jax.make_array_from_callback(x.shape, replicated(mesh), lambda index: x[index])

    with jax.transfer_guard_host_to_device("allow"):  # with several processes JAX calls this transfer implicit
        return jax.tree.map(put, tree)


def replicate_key(mesh: Mesh, key: Array) -> Array:
    """A random key of this process, which every process has made alike, as one key of the whole mesh."""
    data = replicate(mesh, jax.device_get(jax.random.key_data(key)))
    return jax.random.wrap_key_data(data, impl=jax.random.key_impl(key))


def local_rows(x: Any) -> np.ndarray:
    """The rows of an array that this process holds, in order."""
    if x.is_fully_addressable:
        return jax.device_get(x)
    parts = {shard.index[0].start or 0: shard.data for shard in x.addressable_shards}
    return np.concatenate([jax.device_get(parts[start]) for start in sorted(parts)])

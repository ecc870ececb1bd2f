"""What the cloud says of a worker: the slice that it belongs to, and that it, or another one, will be taken away.

Such a notice becomes the SIGTERM that a run obeys. The cloud sends it to a spot machine half a minute before it goes,
and tells of it, and of maintenance that ends the machine, on its metadata server. The other machines of the run hear
of it from that one.
"""

import os
import signal
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jax

from hsd_jax.runtime.signals import Stop

POLL_SECONDS = 2.0
FOLDER = "hsd/preempted/"
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
# Source: cloud.google.com/compute/docs/metadata, predefined keys of an instance.
SIGNS = {"preempted": ("TRUE",), "maintenance-event": ("TERMINATE_ON_HOST_MAINTENANCE",)}


@contextmanager
def watch(stop: Stop, environment: Mapping[str, str], client: Any, process: int) -> Iterator[None]:
    """While its body runs, hands notices on: the cloud's to this process, and this process's to all others.

    `client` is JAX's key-value store, None in a run of one process. The metadata server is asked on workers only
    (HSD_DISTRIBUTED=auto), at GCE_METADATA_HOST where that is set.
    """
    on_cloud, host = is_worker(environment), _host(environment)
    if client is None and not on_cloud:
        yield
        return

    def comes() -> bool:
        return (on_cloud and is_announced(host)) or (client is not None and bool(_entries(client)))

    def tell() -> None:
        if client is not None:
            client.key_value_set(f"{FOLDER}{process}", "1", allow_overwrite=True)

    done = threading.Event()
    thread = threading.Thread(target=_watch, args=(stop, comes, tell, done), name="notices", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()


def _watch(stop: Stop, comes: Callable[[], bool], tell: Callable[[], None], done: threading.Event) -> None:
    try:
        while not done.wait(POLL_SECONDS):
            if stop.asked != "preemption" and comes():
                os.kill(os.getpid(), signal.SIGTERM)
            if stop.asked == "preemption":
                return tell()
    except jax.errors.JaxRuntimeError:
        pass  # the store has gone, and with it all processes


def is_worker(environment: Mapping[str, str]) -> bool:
    """Whether this process was started on a worker of a slice."""
    return environment.get("HSD_DISTRIBUTED") == "auto"


def accelerator(environment: Mapping[str, str]) -> str:
    """The cloud's name of this worker's slice, such as v5p-128; "" elsewhere, or where none is said."""
    return _ask(_host(environment), "attributes/accelerator-type") if is_worker(environment) else ""


def is_announced(host: str) -> bool:
    """Whether the metadata server says that this machine will be taken away; a server that is silent says nothing."""
    return any(_ask(host, name) in signs for name, signs in SIGNS.items())


def _host(environment: Mapping[str, str]) -> str:
    return environment.get("GCE_METADATA_HOST", "metadata.google.internal")


def _ask(host: str, name: str) -> str:
    address = f"http://{host}/computeMetadata/v1/instance/{name}"
    request = urllib.request.Request(address, headers={"Metadata-Flavor": "Google"})
    try:
        with DIRECT.open(request, timeout=POLL_SECONDS) as answer:
            return answer.read().decode(errors="replace").strip()
    except OSError:
        return ""


def _entries(client: Any) -> list[Any]:
    return client.key_value_dir_get(FOLDER)

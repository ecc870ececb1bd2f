"""Notices that this machine, or another of the run, will be taken away: each becomes the SIGTERM that a run obeys.

The cloud sends SIGTERM to a spot machine half a minute before it goes, and tells of it, and of maintenance that ends
the machine, on its metadata server. The other machines of the run hear of it from that one.
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
    on_cloud = environment.get("HSD_DISTRIBUTED") == "auto"
    host = environment.get("GCE_METADATA_HOST", "metadata.google.internal")
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


def is_announced(host: str) -> bool:
    """Whether the metadata server says that this machine will be taken away; a server that is silent says nothing."""
    for name, signs in SIGNS.items():
        address = f"http://{host}/computeMetadata/v1/instance/{name}"
        request = urllib.request.Request(address, headers={"Metadata-Flavor": "Google"})
        try:
            with DIRECT.open(request, timeout=POLL_SECONDS) as answer:
                if answer.read().decode(errors="replace").strip() in signs:
                    return True
        except OSError:
            continue
    return False


def _entries(client: Any) -> list[Any]:
    return client.key_value_dir_get(FOLDER)

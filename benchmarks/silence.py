"""How long the clients of gs:// wait for a storage that takes connections and never answers.

python -m benchmarks.silence

Each client reads once, as a run does; its limit is `SILENT_SECONDS`, and some try more than once.
"""

import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


def silent_server() -> str:
    """The address of a server on the loopback that accepts everything and says nothing."""
    server = socket.create_server(("127.0.0.1", 0), backlog=64)
    kept: list[socket.socket] = []

    def accept() -> None:
        while True:
            kept.append(server.accept()[0])

    threading.Thread(target=accept, daemon=True).start()
    return f"http://127.0.0.1:{server.getsockname()[1]}"


def seconds_of(read: Callable[[], object]) -> tuple[float, str]:
    """How long a reading took that cannot succeed, and with what it ended."""
    began = time.monotonic()
    try:
        read()
    except Exception as error:
        return time.monotonic() - began, f"{type(error).__name__}: {' '.join(str(error).split())[:100]}"
    return time.monotonic() - began, "an answer"


def main() -> int:
    """Prints a line for each client."""
    os.environ.update(STORAGE_EMULATOR_HOST=silent_server(), GOOGLE_AUTH_TOKEN_FOR_TESTING="token", NO_GCE_CHECK="true")
    import tensorstore
    from etils import epath

    from hsd_jax.runtime import checkpoint, storage

    once = tensorstore.Context({"gcs_request_retries": {"max_retries": 1}})
    tries = tensorstore.Context({"gcs_request_retries": checkpoint.RETRIES})
    array = {"driver": "zarr", "kvstore": "gs://bucket/array/"}
    readings: dict[str, Callable[[], object]] = {
        "TensorStore, one try": lambda: tensorstore.open(array, context=once).result(),
        "TensorStore": lambda: tensorstore.open(array, context=tries).result(),
        "gcsfs": epath.Path("gs://bucket/file").read_text,
        "check at start": lambda: storage.preflight(epath.Path("gs://bucket/run")),
    }
    with ThreadPoolExecutor() as pool:
        for name, (seconds, end) in zip(readings, pool.map(seconds_of, readings.values()), strict=True):
            print(f"{name:22s}{seconds:6.1f} s  {end}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

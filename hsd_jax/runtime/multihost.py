"""Several processes as one run: who takes part, a start that names who is missing, and decisions made together.

A run on one machine needs none of this and every function here then does nothing or answers at once. Where hosts could
diverge (stop now? resume where?), each says what it thinks through `gather` and all act on the same list.
"""

import itertools
import json
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax._src import clusters, distributed
from jax.experimental.multihost_utils import process_allgather

from hsd_jax.errors import EXIT_FAILED, InputError, RunStopped
from hsd_jax.runtime import faults
from hsd_jax.runtime.heartbeat import monitor, take_leave

VARIABLES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
RETRY_SECONDS = 0.2
LEAVE_LAST_SECONDS = 15.0
LEAVING = threading.Lock()  # never released: the first thread that ends the process has the last word


@dataclass(frozen=True)
class ProcessInfo:
    """This process among those of a run: address (host:port) of process 0, number of processes, own number."""

    coordinator: str
    processes: int
    process: int


def from_environment(environment: Mapping[str, str]) -> ProcessInfo | None:
    """Where this process stands, or None for a run of one process.

    JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID say it; HSD_DISTRIBUTED=auto (set by tpu_scripts)
    asks the cloud instead. Raises: InputError if only some of the three are set, or they contradict each other.
    """
    given = {name: environment[name] for name in VARIABLES if environment.get(name)}
    if len(given) == len(VARIABLES):
        return _checked(given)
    if given:
        missing = [name for name in VARIABLES if name not in given]
        raise InputError(f"{', '.join(given)} is set but {', '.join(missing)} is not; set all three, or none")
    if environment.get("HSD_DISTRIBUTED") != "auto":
        return None
    # the public initialize() would do the same lookup, but then nobody could say which host is missing
    address, processes, process, _ = clusters.ClusterEnv.auto_detect_unset_distributed_params(
        None, None, None, None, None, 300
    )
    if address is None or processes is None or process is None:
        raise InputError("HSD_DISTRIBUTED=auto: no TPU slice or cluster was detected; set " + ", ".join(VARIABLES))
    return ProcessInfo(address, processes, process)


def _checked(given: Mapping[str, str]) -> ProcessInfo:
    address, count, index = (given[name] for name in VARIABLES)
    if not address.rpartition(":")[2].isdigit() or ":" not in address:
        raise InputError(f"JAX_COORDINATOR_ADDRESS must be host:port; got {address!r}")
    if not (count.isdigit() and index.isdigit() and int(index) < int(count)):
        raise InputError(
            f"JAX_PROCESS_ID must be in 0 .. JAX_NUM_PROCESSES - 1; got {index!r} and JAX_NUM_PROCESSES={count!r}"
        )
    return ProcessInfo(address, int(count), int(index))


@contextmanager
def distributed_session(
    place: ProcessInfo | None, *, start_seconds: float = 900, heartbeat_seconds: int = 60
) -> Iterator[None]:
    """Runs its body as one of the processes of `place`; call it before anything touches a device.

    If the body fails in one process, that process says why and ends at once (exit code 1, or 2 for refused input), so
    that the others notice within `heartbeat_seconds` instead of waiting for it. Raises: RunStopped naming the
    processes that have not arrived after `start_seconds`.
    """
    if place is None:
        yield
        return
    rendezvous(place, start_seconds)
    jax.distributed.initialize(
        place.coordinator,
        place.processes,
        place.process,
        initialization_timeout=int(start_seconds),
        # what JAX does then is to abort; it is there in case that our own watch hangs too
        heartbeat_timeout_seconds=3 * heartbeat_seconds,
    )
    client = distributed.global_state.client
    try:
        gather("host", socket.gethostname())
        with monitor(client, place.process, place.processes, heartbeat_seconds, _follow):
            yield
            gather("end", True)
        jax.distributed.shutdown()
    except BaseException as error:
        leave(error)


def key_value_store() -> tuple[Any, int]:
    """JAX's key-value store, None in a run of one process, and this process's number."""
    return distributed.global_state.client, distributed.global_state.process_id


def _follow(ended: dict[int, str]) -> None:
    """Ends this process, which waits for others that no longer live, and names them with their last words."""
    state = distributed.global_state
    hosts = {} if ended.get(0) == "" else _entries(state.client, "host")
    names = ", ".join(f"process {process} ({hosts.get(process, 'the coordinator')})" for process in ended)
    words = "; ".join(filter(None, ended.values()))
    what = f"it has ended, saying: {words}" if words else "it has ended or hangs, and its own log says why"
    LEAVING.acquire()
    print(
        f"error: no sign of life from {names}: {what}. The last checkpoint is whole; start all processes again with"
        " --resume auto",
        file=sys.stderr,
    )
    if ended.get(0) != "":
        take_leave(state.client, state.process_id, _others() - {*ended}, "", LEAVE_LAST_SECONDS)
    faults.hard_exit(EXIT_FAILED)


def leave(error: BaseException) -> None:
    """Says why and ends this process at once, from any thread.

    The orderly shutdown would wait for processes that wait for this one.
    """
    LEAVING.acquire()
    line, code = faults.error_line(error)
    if line:
        print(f"error: {line}", file=sys.stderr)
    elif not isinstance(error, SystemExit):
        traceback.print_exception(error)
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else EXIT_FAILED
    state = distributed.global_state
    if state.client is not None:
        take_leave(state.client, state.process_id, _others(), line or repr(error), LEAVE_LAST_SECONDS)
    faults.hard_exit(code)


def _others() -> set[int]:
    return {*range(distributed.global_state.num_processes or 1)} - {distributed.global_state.process_id}


def rendezvous(place: ProcessInfo, seconds: float) -> None:
    """Waits until every process has called this, on the port after the coordinator's.

    JAX's own start waits too, but when it gives up it ends the process without saying whom it waited for.
    Raises: RunStopped naming the missing processes, in every process that is there.
    """
    host, _, port = place.coordinator.rpartition(":")
    deadline = time.monotonic() + seconds
    if place.process:
        missing = _arrive((host, int(port) + 1), place.process, deadline)
    else:
        missing = _receive(int(port) + 1, place.processes, deadline)
    if missing:
        names = ", ".join(str(process) for process in missing)
        raise RunStopped(
            f"start: {place.processes - len(missing)} of {place.processes} processes arrived within {seconds:g} s;"
            f" missing: process {names}. Look at their logs (process k is worker k of the slice, slices in order)"
        )


def _receive(port: int, processes: int, deadline: float) -> list[int]:
    """Process 0: collects the number of every process and answers all with the list of those that are missing."""
    arrived: dict[int, socket.socket] = {}
    with socket.create_server(("", port)) as server:
        while len(arrived) < processes - 1 and (left := deadline - time.monotonic()) > 0:
            server.settimeout(left)
            try:
                connection, _ = server.accept()
                connection.settimeout(10)
                arrived[int(connection.recv(16))] = connection
            except (TimeoutError, ValueError, OSError):
                continue
        missing = [process for process in range(1, processes) if process not in arrived]
        for connection in arrived.values():
            with connection:
                connection.sendall(json.dumps(missing).encode() + b"\n")
    return missing


def _arrive(address: tuple[str, int], process: int, deadline: float) -> list[int]:
    """Any other process: says its number until process 0 answers; process 0 is missing if it never does."""
    while (left := deadline - time.monotonic()) > 0:
        try:
            with socket.create_connection(address, timeout=left) as connection:
                connection.sendall(str(process).encode())
                connection.settimeout(left + 10)
                answer = connection.makefile().readline()
            if answer:
                return json.loads(answer)
        except OSError:
            pass
        time.sleep(RETRY_SECONDS)
    return [0]


def gather(name: str, value: Any, *, seconds: float = 1800) -> list[Any]:
    """Every process's `value` (anything JSON can hold), in order of the processes; the same list in all of them.

    Each use needs a `name` of its own, the same in every process ("stop/17"). Touches no device.
    Raises: RunStopped naming the processes (and hosts) that have not answered in time.
    """
    client, processes = distributed.global_state.client, distributed.global_state.num_processes
    if client is None:
        return [value]
    client.key_value_set(f"hsd/{name}/{distributed.global_state.process_id}", json.dumps(value))
    try:
        client.wait_at_barrier(f"hsd/{name}", int(seconds * 1000))
    except jax.errors.JaxRuntimeError as error:
        missing = sorted(set(range(processes)) - set(_entries(client, name)))
        if not missing:
            raise
        hosts = _entries(client, "host")
        names = ", ".join(f"process {process} ({hosts.get(process, 'host unknown')})" for process in missing)
        raise RunStopped(f"{name}: no word from {names} within {seconds:g} s; look at its log") from error
    answers = _entries(client, name)
    return [answers[process] for process in range(processes)]


def _entries(client: Any, name: str) -> dict[int, Any]:
    found = client.key_value_dir_get(f"hsd/{name}/")
    return {int(key.rpartition("/")[2]): json.loads(value) for key, value in found}


def any_host(name: str, flag: bool) -> bool:
    """Whether any process says so: all of them stop when one was asked to."""
    return any(gather(name, bool(flag)))


def same_everywhere(name: str, value: Any) -> None:
    """Refuses to go on where processes differ, for what must be the same: code, settings, the step to resume from.

    Raises: RunStopped naming the processes that differ from process 0, and of mappings the entries that do.
    """
    values = gather(name, value)
    if isinstance(value, dict):
        keys = dict.fromkeys(itertools.chain(*values))
        odd = [key for key in keys if any(one.get(key) != values[0].get(key) for one in values)]
        values = [{key: one.get(key) for key in odd} for one in values]
    differing = {process: other for process, other in enumerate(values) if other != values[0]}
    if differing:
        listing = "; ".join(f"process {process} has {other!r}" for process, other in differing.items())
        raise RunStopped(f"{name} differs between processes: process 0 has {values[0]!r}; {listing}")


def gather_json(value: Any) -> list[Any]:
    """The JSON values that the processes passed, in the order of their numbers; every process must call it."""
    data = np.frombuffer(json.dumps(value).encode(), np.uint8)
    if jax.process_count() == 1:
        return [json.loads(data.tobytes())]
    sizes = np.asarray(process_allgather(np.array(data.size, np.int32))).reshape(-1)
    padded = np.zeros(int(sizes.max()), np.uint8)
    padded[: data.size] = data
    rows = np.asarray(process_allgather(padded)).reshape(len(sizes), -1)
    return [json.loads(row[:size].tobytes()) for row, size in zip(rows, sizes, strict=True)]

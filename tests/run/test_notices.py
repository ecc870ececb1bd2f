"""Notices that a machine will go: from a stand-in of the cloud's metadata server, and from other processes."""

import signal
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from hsd_jax.planning import chips
from hsd_jax.run import notices
from hsd_jax.runtime import signals


class Metadata(BaseHTTPRequestHandler):
    """Answers as the server of a machine does; `said` is what it says by name."""

    said: dict[str, str] = {}

    def do_GET(self) -> None:
        known = self.headers["Metadata-Flavor"] == "Google" and self.path.startswith("/computeMetadata/v1/instance/")
        answer = self.said.get(self.path.rpartition("/")[2]) if known else None
        self.send_response(200 if answer else 404)
        self.end_headers()
        self.wfile.write((answer or "").encode())

    def log_message(self, *_: Any) -> None:
        pass


class Others(dict[str, str]):
    """A key-value store as JAX's client offers it."""

    def key_value_set(self, key: str, value: str, allow_overwrite: bool) -> None:
        self[key] = value

    def key_value_dir_get(self, prefix: str) -> list[tuple[str, str]]:
        return [item for item in self.items() if item[0].startswith(prefix)]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(notices, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(Metadata, "said", {"preempted": "FALSE", "maintenance-event": "NONE"})
    with ThreadingHTTPServer(("127.0.0.1", 0), Metadata) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def asked(stop: signals.Stop, seconds: float) -> str:
    """How it was asked within so many seconds."""
    deadline = time.monotonic() + seconds
    while not stop.asked and time.monotonic() < deadline:
        time.sleep(0.01)
    return stop.asked


@pytest.mark.parametrize(
    ("sign", "says"), [("preempted", "TRUE"), ("maintenance-event", "TERMINATE_ON_HOST_MAINTENANCE")]
)
def test_what_the_cloud_announces_stops_the_run_and_is_told_to_all(host: str, sign: str, says: str) -> None:
    others, environment = Others(), {"HSD_DISTRIBUTED": "auto", "GCE_METADATA_HOST": host}
    with signals.watch() as stop, notices.watch(stop, environment, others, 3):
        assert asked(stop, 0.2) == ""
        Metadata.said[sign] = says
        assert asked(stop, 20) == "preemption"
        deadline = time.monotonic() + 20
        while not others and time.monotonic() < deadline:
            time.sleep(0.01)
    assert [*others] == [f"{notices.FOLDER}3"]


def test_what_another_process_was_told_stops_this_one(host: str) -> None:
    others = Others()
    with signals.watch() as stop, notices.watch(stop, {}, others, 0):
        assert asked(stop, 0.1) == ""
        others[f"{notices.FOLDER}1"] = "1"
        assert asked(stop, 20) == "preemption"


def test_a_server_that_does_not_answer_announces_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "POLL_SECONDS", 0.02)
    assert not notices.is_announced("127.0.0.1:9")


def test_a_worker_compiles_with_the_flags_of_its_chip_but_for_those_of_the_user(host: str) -> None:
    Metadata.said["accelerator-type"] = "v5litepod-64"
    worker = {"HSD_DISTRIBUTED": "auto", "GCE_METADATA_HOST": host}
    assert chips.chip_of(notices.accelerator(worker)) == chips.CHIPS["v5e"]
    assert notices.accelerator({"GCE_METADATA_HOST": host}) == "", "no worker"
    assert notices.accelerator({"HSD_DISTRIBUTED": "auto", "GCE_METADATA_HOST": "127.0.0.1:9"}) == ""
    first, *others = chips.CHIPS["v5e"].flags
    name = first.partition("=")[0]
    worker[chips.FLAGS] = f"--mine=1 {name}=false"
    for _ in range(2):  # what is there already is not added again
        chips.set_flags(worker, chips.CHIPS["v5e"])
        assert worker[chips.FLAGS].split() == ["--mine=1", f"{name}=false", *others]
    chips.set_flags(worker, None)
    assert worker[chips.FLAGS].split() == ["--mine=1", f"{name}=false", *others]


def test_a_preemption_ends_the_sampling_of_a_step_and_an_interrupt_does_not() -> None:
    def sends(number: int) -> str:
        signal.raise_signal(number)
        return "whole"

    with signals.watch() as stop:
        assert stop.can_drop(lambda: sends(signal.SIGINT)) == "whole"
    with signals.watch() as stop:
        assert stop.can_drop(lambda: sends(signal.SIGTERM), allowed=False) == "whole"
        assert stop.can_drop(lambda: "begun") is None, "it had come before"
    with signals.watch() as stop:
        assert stop.can_drop(lambda: sends(signal.SIGTERM)) is None
        assert sends(signal.SIGTERM) == "whole", "nothing is left to drop"

"""A Google Cloud Storage of this process: PyPI's emulator behind a threaded server, with faults that a test asks for.

What the emulator lacks is added here: `moveTo` (which renames an object), generations (by which TensorStore writes and
reads), a lock, and rules that delay, refuse or lose requests. The three clients that a run uses (gcsfs,
google-cloud-storage, TensorStore) find it by `environment`.
"""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import ThreadingHTTPServer
from typing import Any
from unittest import mock

from gcp_storage_emulator import server
from gcp_storage_emulator.handlers import buckets, objects
from gcp_storage_emulator.storage import Storage

BUCKET = "bucket"
WRITES = ("POST", "PUT", "PATCH")
MOVE = re.compile(r"(?:/storage/v1)?/b/(?P<bucket_name>[-.\w]+)/o/(?P<object_id>.+)/moveTo/o/(?P<dest_object_id>.+)")
READ = re.compile(r"(?:/download)?(?:/storage/v1)?/b/bucket/o/(?P<object_id>.+)")


@dataclass
class Rule:
    """What happens to requests of these methods whose line holds `pattern`: `status`, after `seconds`, `times` times.

    `status` 0 lets the request through; 200 says that it was done, and forgets what came (a lost upload).
    """

    pattern: str
    methods: tuple[str, ...] = WRITES
    status: int = 0
    seconds: float = 0.0
    times: float = float("inf")
    first: float = 0.0
    """When it was met for the first time, by the monotonic clock."""


@dataclass
class Cloud:
    """A running emulator: its address, its objects, what goes wrong there, and the requests it has seen."""

    url: str
    storage: Storage
    rules: list[Rule] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which a process finds this storage and no other."""
        return {
            "STORAGE_EMULATOR_HOST": self.url,
            "TENSORSTORE_GCS_HTTP_URL": self.url,
            "GOOGLE_AUTH_TOKEN_FOR_TESTING": "token",
            "NO_GCE_CHECK": "true",
        }

    def names(self, prefix: str = "") -> list[str]:
        """The objects of the bucket."""
        with self.lock:
            return sorted(name for name in self.storage.objects.get(BUCKET, {}) if name.startswith(prefix))

    def copy(self, prefix: str, to: str) -> None:
        """Copies all objects of a prefix at one instant: what a process that dies now leaves behind."""
        with self.lock:
            for name in self.names(prefix):
                objects._copy(self.url, self.storage, BUCKET, name, BUCKET, to + name.removeprefix(prefix))

    def lose(self, prefix: str) -> None:
        """Removes objects behind everybody's back."""
        with self.lock:
            for name in self.names(prefix):
                self.storage._hard_delete_file(BUCKET, name)


@contextmanager
def running(storage: Storage | None = None) -> Iterator[Cloud]:
    """An emulator on the loopback with one bucket `gs://bucket`, empty or as another one left its storage."""
    if storage is None:
        storage = Storage(use_memory_fs=True)
        buckets.create_bucket(BUCKET, storage)
        storage.buckets[BUCKET].pop("softDeletePolicy", None)
    with (
        mock.patch.object(ThreadingHTTPServer, "request_queue_size", 128),
        ThreadingHTTPServer(("127.0.0.1", 0), partial(server.RequestHandler, storage)) as web,
    ):
        web.daemon_threads = True
        web.handle_error = lambda *_: None  # a client that hangs up early, or is killed by a test
        cloud = Cloud(f"http://127.0.0.1:{web.server_port}", storage)
        thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        with mock.patch.object(server.Router, "handle", _with_faults(cloud, server.Router.handle)):
            thread.start()
            try:
                yield cloud
            finally:
                web.shutdown()
                thread.join()


def _with_faults(cloud: Cloud, inner: Callable[[Any, str], None]) -> Callable[[Any, str], None]:
    def handle(router: Any, method: str) -> None:
        handler = router._request_handler
        line = f"{method} {server.unquote(handler.path)}"
        cloud.seen.append(line)
        with cloud.lock:
            rule = next((r for r in cloud.rules if r.times > 0 and method in r.methods and r.pattern in line), None)
            if rule is not None:
                rule.times -= 1
                rule.first = rule.first or time.monotonic()
        if rule is not None:
            time.sleep(rule.seconds)
            if rule.status:
                return _answer(handler, rule.status)
        with cloud.lock:
            path, query = server.unquote(server.urlparse(handler.path).path), server.urlparse(handler.path).query
            asked = server.parse_qs(query)
            moved, read = MOVE.fullmatch(path), READ.fullmatch(path)
            wanted = asked.get("ifGenerationMatch", [""])[0]
            if moved and method == "POST":
                _move(cloud, handler, **moved.groupdict())
            elif read and method == "GET" and asked.get("alt") == ["media"]:
                _download(cloud, handler, read["object_id"], asked.get("ifGenerationNotMatch", [""])[0])
            elif wanted and method == "POST" and "name" in asked and wanted != _generation(cloud, asked["name"][0]):
                _answer(handler, 412)
            else:
                inner(router, method)

    return handle


def _generation(cloud: Cloud, name: str) -> str:
    """An object's generation, "0" where there is none."""
    found = cloud.storage.objects.get(BUCKET, {}).get(name)
    return found["generation"] if found else "0"


def _download(cloud: Cloud, handler: Any, name: str, known: str) -> None:
    """An object's bytes, or a range of them, with its generation, which TensorStore wants."""
    generation = _generation(cloud, name)
    if generation == "0" or generation == known:
        return _answer(handler, 404 if generation == "0" else 304)
    data = cloud.storage.get_file(BUCKET, name)
    asked = re.fullmatch(r"bytes=(\d*)-(\d*)", handler.headers.get("Range") or "")
    first, last = (asked[1], asked[2]) if asked else ("0", "")
    begin, end = (int(first), int(last or len(data) - 1) + 1) if first else (max(len(data) - int(last), 0), len(data))
    part = data[begin:end]
    handler.send_response(206 if asked else 200)
    handler.send_header("x-goog-generation", generation)
    handler.send_header("Content-Length", str(len(part)))
    if asked:
        handler.send_header("Content-Range", f"bytes {begin}-{begin + len(part) - 1}/{len(data)}")
    handler.end_headers()
    handler.wfile.write(part)


def _move(cloud: Cloud, handler: Any, bucket_name: str, object_id: str, dest_object_id: str) -> None:
    try:
        objects._copy(cloud.url, cloud.storage, bucket_name, object_id, bucket_name, dest_object_id)
        cloud.storage._hard_delete_file(bucket_name, object_id)
    except server.buckets.NotFound:
        return _answer(handler, 404)
    _answer(handler, 200)


def _answer(handler: Any, status: int) -> None:
    handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
    body = b'{"error": {"code": %d, "message": "said by a test"}}' % status if status >= 400 else b"{}"
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)

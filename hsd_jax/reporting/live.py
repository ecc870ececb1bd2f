"""The page of a run in progress, served over HTTP; a browser loads it anew when the run has written more."""

import html
import ipaddress
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from hsd_jax.errors import InputError

SHELL = Path(__file__).parent / "page" / "live.html"
HERE = "localhost"


@dataclass
class Live:
    """The last page that was made, and the version of the run's files of which it was made."""

    version_of: Callable[[], str]
    make: Callable[[], str]
    version: str | None = None
    page: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def newest(self) -> str:
        """The page of what the run has written by now; why there is none, as a page, where none can be made."""
        with self.lock:
            try:
                if (now := self.version_of()) != self.version:
                    self.page, self.version = self.make(), now
            except (InputError, OSError) as error:  # a run that only begins, or storage that is away for a while
                return f"<!doctype html><title>HSD report, waiting</title><p>{html.escape(str(error))}</p>"
            return self.page

    def current(self) -> str:
        """The version of what the run has written by now; that of the page where nobody can say."""
        try:
            return self.version_of()
        except OSError:
            return self.version or ""


def start(live: Live, *, host: str, port: int) -> ThreadingHTTPServer:
    """A server that listens; `serve_forever` answers. Port 0 takes a free one.

    Raises: InputError where the address cannot be taken.
    """

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self, live, local=is_local(host))

        def log_message(self, *_: object) -> None:
            """Requests are no news."""

    try:
        return ThreadingHTTPServer((host, port), Answer)
    except (OSError, OverflowError) as error:
        raise InputError(
            f"--port: {host}:{port} cannot be served ({error}); choose another, or 0 for a free one"
        ) from error


def answer(request: BaseHTTPRequestHandler, live: Live, *, local: bool) -> None:
    """The frame, the page in it, or the version of what the run has written.

    A server for this machine alone answers nobody who came under another name: a web page of a stranger may have its
    own name point here.
    """
    came_for = urlsplit(f"//{request.headers.get('Host', '')}").hostname or ""
    path = urlsplit(request.path).path
    texts = {
        "/": lambda: SHELL.read_text(encoding="utf-8"),
        "/page": live.newest,
        "/version": live.current,
    }
    if local and not is_local(came_for):
        send(request, HTTPStatus.FORBIDDEN, f"served to this machine alone, not to {came_for}")
    elif path not in texts:
        send(request, HTTPStatus.NOT_FOUND, "there is /, /page and /version")
    else:
        send(request, HTTPStatus.OK, texts[path](), kind="plain" if path == "/version" else "html")


def send(request: BaseHTTPRequestHandler, status: HTTPStatus, text: str, *, kind: str = "plain") -> None:
    """One whole answer; a browser that has left is nobody's fault."""
    body = text.encode("utf-8", "replace")
    try:
        request.send_response(status)
        request.send_header("Content-Type", f"text/{kind}; charset=utf-8")
        request.send_header("Content-Length", str(len(body)))
        request.send_header("Cache-Control", "no-store")
        request.end_headers()
        request.wfile.write(body)
    except ConnectionError:
        request.close_connection = True


def is_local(host: str) -> bool:
    """Whether an address is this machine's own, which nobody else reaches."""
    try:
        return host == HERE or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

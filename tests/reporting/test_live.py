"""The page of a run in progress: renewed as the run writes, refused to strangers, and never the end of anything."""

import http.client
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hsd_jax import report
from hsd_jax.errors import InputError
from hsd_jax.reporting import live
from hsd_jax.reporting.write import live_page, write_page
from tests.support.report_workdir import make_workdir

# Where the tests run in the background, children ignore Ctrl-C until they say otherwise.
HEARS = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("hsd_jax.report", run_name="__main__", alter_sys=True)
"""


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    return make_workdir(tmp_path / "run", steps=2, every=2)


@pytest.fixture
def port(workdir: Path) -> Iterator[int]:
    with live.start(live_page(workdir, (), 24.0), host="127.0.0.1", port=0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def get(port: int, path: str, **headers: str) -> tuple[int, str]:
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    asked.request("GET", path, headers=headers)
    answer = asked.getresponse()
    return answer.status, answer.read().decode()


def test_what_is_served_is_the_file(workdir: Path, port: int):
    (written,) = write_page(workdir)
    assert get(port, "/page") == (200, written.read_text(encoding="utf-8"))
    assert get(port, "/")[0] == 200 and 'id="page"' in get(port, "/")[1]
    assert get(port, "/report/index.html")[0] == get(port, "/../config.json")[0] == 404


def test_the_version_and_the_page_change_as_the_run_writes(workdir: Path, port: int):
    before = get(port, "/version"), get(port, "/page")
    lines = (workdir / "metrics.jsonl").read_text().splitlines(keepends=True)
    assert (get(port, "/version"), get(port, "/page")) == before
    (workdir / "metrics.jsonl").write_text("".join(lines[:-1]))
    after = get(port, "/version"), get(port, "/page")
    assert all(new[0] == 200 and new != old for new, old in zip(after, before, strict=True))


def test_a_directory_that_is_away_for_a_while_is_waited_for(workdir: Path, port: int):
    away = workdir.rename(workdir.parent / "away")
    status, text = get(port, "/page")
    assert status == 200 and "waiting" in text and str(workdir) in text
    away.rename(workdir)
    assert "Hindsight Self-Distillation" in get(port, "/page")[1]


def test_storage_that_fails_for_a_while_ends_nothing():
    answers: list[str | OSError] = ["one", OSError("403"), OSError("403"), "two"]

    def version() -> str:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    shown = live.Live(version, lambda: "a page")
    assert shown.newest() == "a page"
    assert "waiting" in shown.newest()
    assert [shown.current(), shown.current()] == ["one", "two"]


@pytest.mark.parametrize(
    ("name", "status"), [("localhost", 200), ("[::1]:80", 200), ("127.0.0.9:1", 200), ("a.example", 403)]
)
def test_a_name_of_a_stranger_that_points_here_gets_nothing(port: int, name: str, status: int):
    assert get(port, "/version", Host=name)[0] == get(port, "/page", Host=name)[0] == status


def test_an_address_that_is_taken_and_a_missing_run_are_refused(workdir: Path, port: int, tmp_path: Path):
    for arguments, said in (
        (["--serve", str(workdir), "--port", str(port)], f"127.0.0.1:{port} cannot be served"),
        (["--serve", str(workdir), "--port", "99999"], "127.0.0.1:99999 cannot be served"),
        (["--serve", str(workdir), "--host", "no.such.host.invalid"], "cannot be served"),
        (["--serve", str(tmp_path / "none")], "does not exist"),
        (["--serve", str(workdir), "--figures"], "writes nothing"),
        (["--serve", str(workdir), "--config", "configs/tiny.py"], "writes nothing"),
        (["--workdir", str(workdir), "--port", "80"], "belong to --serve"),
    ):
        with pytest.raises(InputError, match=said):
            report.main(arguments)


def test_ctrl_c_ends_it_without_a_word(workdir: Path):
    served = subprocess.Popen(
        [sys.executable, "-c", HEARS, "--serve", str(workdir), "--port", "0"], stdout=-1, stderr=-1, text=True
    )
    try:
        assert served.stdout is not None
        address = served.stdout.readline().split(" at http://127.0.0.1:")[1].split("/")[0]
        assert get(int(address), "/version")[0] == 200
        served.send_signal(signal.SIGINT)
        assert served.communicate(timeout=60) == ("", "") and served.returncode == 0
    finally:
        served.kill()

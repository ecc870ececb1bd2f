"""No escape code of data reaches a terminal, whoever prints it."""

import io
import os
import subprocess
import sys

import pytest

from hsd_jax.errors import InputError
from hsd_jax.runtime import cli
from models.errors import printable
from tests.support.paths import ROOT

EVIL = "\x1b]0;title\x07\x1b[31mred\x9b1m\r\u202e\u2066x\ud800 é 漢 \U0001f600"


def test_what_acts_is_written_as_its_escape_and_text_stays():
    assert printable("é 漢 \U0001f600 a_b") == "é 漢 \U0001f600 a_b"
    said = printable(EVIL)
    assert said.isprintable() and said.endswith(" é 漢 \U0001f600")
    assert printable("a\n\tb\x1b", keep="\n\t") == "a\n\tb\\x1b"


def test_refusals_are_one_printable_line():
    assert str(InputError("a\nb\x1b[0m\x85c")) == "a b\\x1b[0m c"


def test_a_stream_without_unicode_gets_escapes_instead_of_an_error():
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    print("█ é", file=cli.Screened(ascii_only), flush=True)
    assert ascii_only.buffer.getvalue() == b"\\u2588 \\xe9\n"  # type: ignore[attr-defined]


def test_everything_that_prints_is_screened(capsys: pytest.CaptureFixture[str]):
    with cli.screened():
        print(EVIL)
        print(EVIL, file=sys.stderr)
        cli.tables().print(EVIL + "[/no such markup]")
        assert not sys.stdout.isatty()
    out, err = capsys.readouterr()
    assert (out + err).replace("\n", "").isprintable() and out.count("\\x1b]0") == 2


def test_what_a_library_prints_past_python_is_screened(capfd: pytest.CaptureFixture[str]):
    with cli.screened():
        print("before")
        with pytest.raises(KeyError), cli.screened_natively():
            os.write(1, EVIL.encode("utf-8", "surrogatepass"))
            os.write(2, b"\x1b[2J")
            raise KeyError
        os.write(1, b"behind")
    out, err = capfd.readouterr()
    assert out.startswith("before\n\\x1b]0;title") and out.endswith("behind") and err == "\\x1b[2J"


def test_a_command_ends_without_a_raw_escape_code():
    code = f"""
import logging; logging.basicConfig(); log = logging.error
from hsd_jax.errors import InputError
from hsd_jax.runtime import cli
evil = {EVIL!r}
def main(argv):
    log(evil)
    raise RuntimeError(evil)
cli.run(main)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True)
    assert b"\x1b" not in done.stdout + done.stderr and done.stderr.count(b"\\x1b]0") >= 2

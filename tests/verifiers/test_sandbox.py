"""Tiers, refusal without isolation, the types of tests, extraction of programs, comparison rules."""

# ruff: noqa: E501 - tables of text read best unwrapped

import pickle

import pytest

from hsd_jax.errors import InputError
from hsd_jax.verifiers import cases, code, comparison, pool
from hsd_jax.verifiers.sandbox import seccomp, tiers
from tests.support.tiers import needs_bubblewrap, needs_sandbox, usable_tiers

ADD = "```python\ndef f(a, b):\n    return a + b\n```"
TESTS = [{"call": "f", "args": [1, 2], "output": 3}]


def without_isolation(monkeypatch: pytest.MonkeyPatch) -> None:
    tiers.probe.cache_clear()
    monkeypatch.setattr(tiers, "candidates", lambda: [])


@pytest.fixture
def restored_probe(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.undo()
    yield monkeypatch  # type: ignore[misc]
    monkeypatch.undo()
    tiers.probe.cache_clear()


def test_a_machine_without_isolation_refuses_and_names_the_package(restored_probe: pytest.MonkeyPatch) -> None:
    without_isolation(restored_probe)
    assert tiers.probe().name == "none"
    with pytest.raises(tiers.NoSandbox, match="bubblewrap"):
        code.grade("def f(a, b): return a + b", TESTS)
    with pytest.raises(tiers.NoSandbox, match="allow-unsandboxed"):
        pool.start(workers=1, programs=True)


def test_isolation_can_be_waived_and_that_is_logged(
    restored_probe: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    without_isolation(restored_probe)
    assert code.grade("def f(a, b): return a + b", TESTS, allow_unsandboxed=True).reward == 1.0
    assert code.grade("def f(a, b): return a - b", TESTS, allow_unsandboxed=True).reason == "wrong"
    assert "WITHOUT isolation" in caplog.text


@needs_sandbox
@pytest.mark.sandbox
def test_the_tier_in_use_is_printed_and_kept(capsys: pytest.CaptureFixture[str]) -> None:
    with pool.start(workers=1, programs=True) as graders:
        assert tiers.probe().name in graders.tier
        assert graders.submit_code(ADD, cases.visible(TESTS)).result().reason == "correct"
        assert graders.submit_hidden(ADD, cases.hidden(TESTS)).result().reason == "correct"
        assert graders.submit_code("no program", cases.visible(TESTS)).result().reason == "no_answer"
        with pytest.raises(TypeError, match="VisibleTests"):
            graders.submit_code(ADD, cases.hidden(TESTS))  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="HiddenTests"):
            graders.submit_hidden(ADD, cases.visible(TESTS))  # type: ignore[arg-type]
    assert "sandbox tier:" in capsys.readouterr().out


@needs_bubblewrap
@pytest.mark.sandbox
def test_bubblewrap_shows_nothing_of_the_host() -> None:
    program = "import os\ndef f(): return [sorted(os.listdir('/')), os.getuid() != 0, sorted(os.environ)]\n"
    for tier in usable_tiers():
        if tier.name.startswith("bubblewrap"):
            with tiers.session(tier, tiers.Limits(), program=program) as running:
                roots, dropped, names = comparison.decode(tiers.call(running, "f", [])["value"])  # type: ignore[misc]
            assert set(roots) <= {"bin", "dev", "lib", "lib64", "python", "tmp", "usr"} and dropped
            assert set(names) <= {"HOME", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "PWD", "PYTHONHASHSEED", "TZ"}


def test_hidden_tests_do_not_show_their_cases() -> None:
    tests = cases.hidden([{"input": "secret input", "output": "secret output"}])
    assert "secret" not in repr(tests) and "secret" not in str([tests])
    assert pickle.loads(pickle.dumps(tests)) == tests
    assert not isinstance(tests, cases.VisibleTests)


@pytest.mark.parametrize(
    ("tests", "message"),
    [
        ([], "at least one"),
        ("text", "must be a list"),
        ([{"input": "1"}], r"tests\[0\]"),
        ([{"input": "1", "output": 2}], r"tests\[0\]"),
        ([{"call": "f", "args": 1, "output": 2}], "args"),
        ([{"call": "f", "args": [object()], "output": 2}], "plain values"),
        ([{"call": "f", "args": [], "output": 2, "rule": "any"}], "unordered"),
        ([{"input": "", "output": ""}, {"call": "f", "args": [], "output": 2}], "mix"),
    ],
)
def test_malformed_tests_are_refused(tests: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        code.grade("x", tests)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("response", "program"),
    [
        ("a\n```python\nx = 1\n```\nb\n```python\nx = 2\n```\n", "x = 2\n"),
        ("```\nx = 1\n```", "x = 1\n"),
        ("```py\nx = 1\n", "x = 1\n"),
        ("```python\nx = 1\n```\n```text\noutput\n```", "x = 1\n"),
        ("<think>```python\nx = 1\n```</think>none", None),
        ("````python\ns = '''\n```\n'''\n````", "s = '''\n```\n'''\n"),
        ("no block", None),
        ("```python\n\n```", None),
    ],
)
def test_the_last_python_block_is_the_program(response: str, program: str | None) -> None:
    assert code.extract_program(response) == program


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("1 2\n3\n", "1 2\n3", True), ("1\n", "1.0", True), ("0.5", "5e-1", True), ("a b", "a  b", False), ("a", "A", False),
        ("1\n2", "1 2", False), ("0.1", "0.10000001", False), ("", "\n\n", True), ("nan", "nan", True), ("1", "sNaN", False),
        (" x \n y", "x\ny  \n", True), ("YES", "YES\nYES", False), ("1", "1e999999999999999999999", False),
    ],
)  # fmt: skip
def test_printed_output_is_compared_by_the_rule_of_livecodebench(expected: str, printed: str, same: bool) -> None:
    assert comparison.same_output(expected, printed) is same


def test_values_are_compared_by_type_and_tolerance() -> None:
    assert comparison.same_value([0.1], {"l": [0.1 + 1e-12]})
    assert not comparison.same_value([0.1], {"l": [0.1001]})
    assert comparison.same_value(0.1, 0.1 + 9e-7, comparison.EVALPLUS) and not comparison.same_value(0.1, 0.1 + 9e-7)
    assert comparison.same_value([1], {"t": [1]}) and not comparison.same_value([1], {"t": [1]}, comparison.EVALPLUS)
    assert not comparison.same_value("1", 1) and not comparison.same_value(None, False)
    assert not comparison.same_value({1, 2}, {"s": [1, 1]}) and not comparison.same_value({"a": 1}, {"d": []})


def test_the_filter_knows_both_architectures(monkeypatch: pytest.MonkeyPatch) -> None:
    for machine in ("x86_64", "aarch64"):
        monkeypatch.setattr("platform.machine", lambda machine=machine: machine)
        assert len(seccomp.program()) % 8 == 0 and seccomp.OWN_PID.to_bytes(4, "little") in seccomp.program()
        assert len(seccomp.shared()) % 8 == 0 and seccomp.shared() != seccomp.program()
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(OSError, match="riscv64"):
        seccomp.program()

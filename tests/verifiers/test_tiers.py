"""What a program can reach, use up and leave behind in each tier."""

# ruff: noqa: E501 - programs read best unwrapped

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hsd_jax.verifiers import code, comparison
from hsd_jax.verifiers.sandbox import launch, seccomp, tiers
from tests.support.attacks_tiers import COUNTS, HOLD_A_LOCK, MARKS, SEE_A_LOCK
from tests.support.tiers import needs_sandbox, usable_tiers

pytestmark = [pytest.mark.sandbox, needs_sandbox]
each_tier = pytest.mark.parametrize("tier", usable_tiers(), ids=lambda tier: tier.name)


def answer(tier: tiers.Tier, program: str) -> object:
    with tiers.session(tier, tiers.Limits(seconds=8.0), program=program) as running:
        return comparison.decode(tiers.call(running, "f", []).get("value"))


@each_tier
@pytest.mark.parametrize("name", MARKS)
def test_a_rollout_leaves_no_mark_for_another(name: str, tier: tiers.Tier) -> None:
    mark, look = MARKS[name]
    before = os.stat("/dev/null")
    answer(tier, mark)
    assert answer(tier, look) is False
    after = os.stat("/dev/null")
    assert (after.st_mode, after.st_mtime_ns, after.st_uid) == (before.st_mode, before.st_mtime_ns, before.st_uid)


@each_tier
@pytest.mark.parametrize("place", ["'/dev/null'", "os.__file__"])
def test_a_running_rollout_holds_no_lock_that_another_sees(place: str, tier: tiers.Tier) -> None:
    with ThreadPoolExecutor(1) as threads:
        held = threads.submit(answer, tier, HOLD_A_LOCK.replace("PLACE", place))
        time.sleep(1.0)
        assert answer(tier, SEE_A_LOCK.replace("PLACE", place)) is False
        held.result()


@each_tier
@pytest.mark.parametrize("name", COUNTS)
def test_limits_hold_in_every_tier(name: str, tier: tiers.Tier) -> None:
    program, most = COUNTS[name]
    got = answer(tier, program)
    assert isinstance(got, int) and 0.5 * most - 1 <= got <= most


@each_tier
def test_the_program_is_another_user_that_owns_nothing_and_may_nothing(tier: tiers.Tier) -> None:
    program = (
        "import os\ndef f():\n    own = [p for p in ('/', '/usr', '/tmp', '/dev', '/dev/null', os.__file__) if os.path.exists(p)\n"
        "        and os.stat(p).st_uid == os.getuid()]\n"
        "    done = []\n    for call in (lambda: os.setuid(0), lambda: os.chown('/dev/null', os.getuid(), -1), lambda: os.mknod('/tmp/d', 0o20666, 259),\n"
        "            lambda: os.kill(os.getppid(), 0), lambda: os.sched_setaffinity(0, {0}), lambda: os.nice(1), lambda: os.setpriority(0, 0, 5)):\n"
        "        try: call(); done.append(1)\n        except OSError: pass\n"
        "    return [os.getuid(), own, done]\n"
    )
    uid, own, done = answer(tier, program)  # type: ignore[misc]
    assert uid not in (0, os.getuid())
    # in a user namespace the private mounts are its own; they go with it, and their modes and times cannot be set
    assert set(own) <= ({"/", "/usr", "/tmp", "/dev"} if tier.name == "bubblewrap-userns" else set()) and done == []


@each_tier
def test_root_starts_no_sandbox_as_itself(tier: tiers.Tier) -> None:
    if os.getuid() == 0:
        with tiers.session(tier, tiers.Limits(), program="def f(): return 1\n") as running:
            innermost = running.process.pid
            while children := launch._children(innermost):
                innermost = children[-1]
            uids = Path(f"/proc/{innermost}/status").read_text().split("Uid:")[1].split()[:4]
            assert {int(uid) for uid in uids}.isdisjoint({0, 65534})
            capabilities = Path(f"/proc/{innermost}/status").read_text().split("CapPrm:")[1].split()[0]
            assert int(capabilities, 16) == 0


@each_tier
def test_only_the_standard_library_and_its_libraries_can_be_read(tier: tiers.Tier) -> None:
    program = (
        "import os\ndef f():\n    found = []\n    for p in PLACES:\n        try: found.append(p) if os.listdir(p) else 0\n"
        "        except OSError: pass\n    return found\n"
    )
    site = str(Path(launch.needed(tier.python, tier.prefix)[0]) / "site-packages")
    inside = launch._inside(site, tier.prefix) if tier.name != "seccomp" else "/none"
    places = [
        "/etc",
        "/root",
        "/home",
        "/proc",
        "/sys",
        "/var",
        "/usr/local",
        "/usr/share/doc",
        "/usr/src",
        inside,
        os.getcwd(),
    ]
    assert answer(tier, program.replace("PLACES", repr(places))) == []


def test_a_program_of_many_tests_that_starts_threads_counts_no_process_ids() -> None:
    program = (
        "import os, threading\nn = int(input())\nfor _ in range(3): threading.Thread(target=int).start()\n"
        "print(n if os.getpid() <= PID + n else 'left')\n"
    )
    for tier in usable_tiers():
        if tier.name.startswith("bubblewrap"):
            first = answer(tier, "import os\ndef f(): return os.getpid()\n")
            tests = [{"input": f"{n}\n", "output": str(n)} for n in range(1, 5)]
            assert code.grade(program.replace("PID", str(first + 1)), tests, tier=tier).reason == "correct"  # type: ignore[operator]


def test_attributes_of_the_scratch_directory_are_no_trace() -> None:
    program = (
        "import os\nn = input()\ntimes = os.stat('/tmp').st_mtime\nfirst = open(0).read()\n"
        "kept = os.stat('/tmp').st_ino\nwith open('/tmp/x', 'w') as o: ino = os.fstat(o.fileno()).st_ino\nos.remove('/tmp/x')\n"
        "for i in range(50): open('/tmp/y', 'w').close(); os.remove('/tmp/y')\nprint(ino - kept < 40 and n)\n"
    )
    for tier in usable_tiers():
        if tier.name.startswith("bubblewrap"):
            tests = [{"input": f"{n}\n", "output": str(n)} for n in range(3)]
            assert code.grade(program, tests, tier=tier).reason == "correct"


def test_the_numbers_of_system_calls_are_those_of_the_kernel() -> None:
    header = {"x86_64": "x86_64-linux-gnu/asm/unistd_64.h", "aarch64": "asm-generic/unistd.h"}
    tables = (seccomp.ALLOWED, seccomp.FOR_THE_SUPERVISOR, seccomp.NOT_DONE, seccomp.CHECKED)
    for machine, name in header.items():
        file = Path("/usr/include") / name
        lines = file.read_text().replace("__NR3264_", "__NR_").splitlines() if file.exists() else []
        known = {
            line.split()[1][5:]: int(line.split()[2])
            for line in lines
            if line.startswith("#define __NR_") and line.split()[2].isdigit()
        }
        known.update({} if machine == "x86_64" or not known else {"newfstatat": known["fstatat"]})
        for table in tables:
            ours = seccomp.numbers(table, machine)
            assert (
                not known or {call: number for call, number in ours.items() if known.get(call, number) != number} == {}
            )
            assert len(set(ours.values())) == len(ours)


@each_tier
def test_what_is_not_named_is_refused(tier: tiers.Tier) -> None:
    program = (
        "import ctypes\nc = ctypes.CDLL(None, use_errno=True)\ndef f():\n    done = []\n    for n in CALLS:\n"
        "        ctypes.set_errno(0)\n        if c.syscall(n, -1, 0, 0, 0, 0, 0) >= 0 or ctypes.get_errno() != 1: done.append(n)\n    return done\n"
    )
    machine = os.uname().machine
    tables = (seccomp.ALLOWED, seccomp.FOR_THE_SUPERVISOR, seccomp.NOT_DONE, seccomp.CHECKED)
    named = {number for table in tables for number in seccomp.numbers(table, machine).values()}
    probes = {335, 336}  # on x86_64 the kernel answers these before any filter, and only from a page of its own
    others = [number for number in range(600) if number not in named | probes]
    assert answer(tier, program.replace("CALLS", repr(others))) == []

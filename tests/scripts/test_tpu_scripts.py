"""The pod scripts, driven through a stand-in gcloud whose ssh really runs the worker's side on this machine."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import requires, version
from pathlib import Path

import pytest

from hsd_jax import plan, prepare, report
from hsd_jax.runtime import cli
from tests.support import fake_cloud
from tests.support.fake_cloud import Cloud, executable
from tests.support.paths import ROOT

SCRIPTS = sorted(p.name for p in (ROOT / "tpu_scripts").glob("*.sh"))
COMMANDS = ["create.sh", "setup.sh", "launch.sh", "status.sh", "logs.sh", "pull.sh", "delete.sh", "watch.sh"]


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    checkout = tmp_path / "checkout"
    fake_cloud.minimal_checkout(checkout)
    with fake_cloud.running(tmp_path, checkout, fake_cloud.FAKE_TRAINING, fake_cloud.SETTINGS) as running:
        yield running


def ready(cloud: Cloud, *flags: str) -> None:
    """A slice that is created, set up and running."""
    for name in ("create.sh", "setup.sh"):
        done = cloud.script(name)
        assert done.returncode == 0, done.stderr
    done = cloud.script("launch.sh", *flags)
    assert done.returncode == 0, done.stderr


def test_shellcheck_has_nothing_to_say() -> None:
    assert shutil.which("shellcheck"), "install shellcheck (tools/install_system_packages.sh)"
    done = subprocess.run(["shellcheck", *SCRIPTS], cwd=ROOT / "tpu_scripts", capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_usage_and_exit_codes_and_needs_no_settings(name: str) -> None:
    done = subprocess.run(
        [ROOT / "tpu_scripts" / name, "--help"], env={"PATH": os.environ["PATH"]}, capture_output=True, text=True
    )
    assert done.returncode == 0
    assert f"Usage: tpu_scripts/{name}" in done.stdout and "Exit codes: 0" in done.stdout and "--dry-run" in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_unknown_argument_and_missing_project_are_refused(cloud: Cloud, name: str) -> None:
    assert cloud.script(name, "--nonsense").returncode == 2
    done = cloud.script(name, HSD_PROJECT="")
    assert done.returncode == 2 and "HSD_PROJECT" in done.stderr
    assert not cloud.calls()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"HSD_NAME": "Hsd_1"}, "HSD_NAME"),
        ({"HSD_SLICES": "0"}, "HSD_SLICES"),
        ({"HSD_ACCELERATOR": "v4-8"}, "HSD_ACCELERATOR must be"),
        ({"HSD_ACCELERATOR": "v5p-"}, "needs a size"),
        ({"HSD_PROVISIONING": "cheap"}, "HSD_PROVISIONING"),
        ({"HSD_AUTOSTART": "1", "HSD_BUCKET": "b"}, "HSD_BUCKET"),
        ({"HSD_AUTOSTART": "1", "HSD_WORKDIR": "/tmp/run"}, "HSD_WORKDIR"),
        ({"HSD_AUTOSTART": "1", "HSD_CONFIG": "configs/absent.py"}, "is not in commit"),
    ],
)
def test_create_refuses_bad_settings_before_any_call(cloud: Cloud, settings: dict[str, str], message: str) -> None:
    done = cloud.script("create.sh", **settings)
    assert done.returncode == 2 and message in done.stderr
    assert not cloud.calls("create")


GOLDEN = {
    "create": (["create.sh", "--dry-run"], {}),
    "create_autostart": (["create.sh", "--dry-run", "--", "--steps", "10", "--x", "it's on"], {"HSD_AUTOSTART": "1"}),
    "create_multislice": (
        ["create.sh", "--dry-run"],
        {"HSD_ACCELERATOR": "v5e-64", "HSD_SLICES": "2", "HSD_PROVISIONING": "reserved", "HSD_VALID_UNTIL": "",
         "HSD_INTERNAL_IPS": "1", "HSD_NETWORK": "n", "HSD_SUBNETWORK": "s", "HSD_SERVICE_ACCOUNT": "a@p.example"},
    ),
    "setup": (["setup.sh", "--dry-run"], {}),
    "launch": (["launch.sh", "--dry-run", "--restart", "--", "--steps", "10"], {"HSD_SLICES": "2"}),
    "status": (["status.sh", "--dry-run"], {}),
    "logs": (["logs.sh", "--dry-run", "--worker", "all", "--lines", "7"], {"HSD_INTERNAL_IPS": "1"}),
    "pull": (["pull.sh", "--dry-run"], {}),
    "delete": (["delete.sh", "--dry-run"], {}),
    "watch": (["watch.sh", "--dry-run"], {}),
}  # fmt: skip


def dry_run(cloud: Cloud, case: str) -> str:
    (name, *arguments), settings = GOLDEN[case]
    done = cloud.script(name, *arguments, HSD_COMMIT="0123456789ab", HSD_HOME="/opt/hsd", HSD_USER="hsd", **settings)
    assert done.returncode == 0, done.stderr
    assert not cloud.calls(), "a dry run must not call gcloud"
    return done.stdout


@pytest.mark.parametrize("case", GOLDEN)
def test_dry_run_prints_the_golden_commands(cloud: Cloud, case: str) -> None:
    golden = ROOT / "tests" / "scripts" / "golden" / "tpu_scripts" / f"{case}.txt"
    assert dry_run(cloud, case) == golden.read_text()


@pytest.mark.skipif(shutil.which("gcloud") is None, reason="the Google Cloud CLI is not installed")
@pytest.mark.parametrize("case", ["create_autostart", "create_multislice", "launch", "pull", "delete", "logs"])
def test_the_real_gcloud_understands_the_commands(cloud: Cloud, case: str, tmp_path: Path) -> None:
    """Without an account it parses the flags (exit code 2 where they are wrong) and stops: nothing is sent."""
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path), "CLOUDSDK_CONFIG": str(tmp_path / "config"),
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1", "CLOUDSDK_CORE_CHECK_GCE_METADATA": "false",
    }  # fmt: skip
    startup = tmp_path / "runs" / "tpu" / "hsd" / "startup.sh"
    startup.parent.mkdir(parents=True)
    startup.write_text("true")
    lines = [line.removeprefix("+ ") for line in dry_run(cloud, case).splitlines() if line.startswith("+ gcloud")]
    assert lines
    for line in lines:
        done = subprocess.run(
            ["bash", "-c", line], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 1 and re.search("account|credential|auth", done.stderr), (line, done.stderr)


def test_the_whole_life_of_a_pod(cloud: Cloud) -> None:
    ready(cloud, "--", "--steps", "10")
    assert sorted((cloud.home / "installed").read_text().split()) == ["hsd-w0", "hsd-w1"]
    cloud.wait_for("running")
    again = cloud.script("launch.sh")
    assert again.returncode == 0 and again.stdout.count("running already") == 2
    logs = cloud.script("logs.sh", "--worker", "all").stdout.splitlines()
    expected = "step 1 of -m hsd_jax.train --config configs/tiny.py --workdir gs://b/runs/hsd --resume auto --steps 10"
    assert sorted(line.split(" ", 1)[1] for line in logs) == [f"hsd-w{i} | {expected}" for i in (0, 1)]
    assert [line.split()[0] for line in logs] == sorted(line.split()[0] for line in logs)
    stopped = cloud.script("launch.sh", "--stop")
    assert stopped.returncode == 0 and stopped.stdout.count("preempted code 3") == 2
    assert "saved" in cloud.script("logs.sh").stdout, "the last words of an ending run are kept"
    assert cloud.word() == "run: preempted"
    deleted = cloud.script("delete.sh", "--yes")
    assert deleted.returncode == 0 and not cloud.exists and "gone" in deleted.stderr
    assert cloud.script("delete.sh", "--yes").returncode == 0, "deleting twice is no error"


def test_the_run_survives_the_end_of_its_ssh_session(cloud: Cloud) -> None:
    ready(cloud)
    pids = [int(p.read_text()) for p in cloud.home.glob("vm/*/run/pid")]
    assert len(pids) == 2
    for pid in pids:
        assert os.getsid(pid) != os.getsid(0), "a session of its own: a hang-up of ours does not reach it"


def test_exit_codes_of_the_training_are_understood(cloud: Cloud) -> None:
    cloud = replace(cloud, environment={**cloud.environment, "FAKE_WORKERS": "1"})
    cloud.write("code", "0")
    ready(cloud)
    for code, word in {"0": "done", "1": "failed", "2": "refused", "3": "preempted", "137": "failed"}.items():
        cloud.write("code", code)
        assert cloud.script("launch.sh").returncode == 0
        cloud.wait_for(word)
        assert f"code {code}" in cloud.script("status.sh").stdout


def test_a_killed_worker_shows_as_failed_and_a_relaunch_resumes(cloud: Cloud) -> None:
    ready(cloud)
    for file in cloud.home.glob("vm/*/run/supervisor"):
        subprocess.run(["kill", "-KILL", file.read_text()], check=True)
    for file in cloud.home.glob("vm/*/run/pid"):
        subprocess.run(["kill", "-KILL", file.read_text()], check=True)
    cloud.wait_for("failed")
    assert cloud.script("launch.sh").returncode == 0
    cloud.wait_for("running")


def test_create_is_idempotent_and_keeps_what_others_made(cloud: Cloud) -> None:
    assert cloud.script("create.sh").returncode == 0
    again = cloud.script("create.sh", "--wait")
    assert again.returncode == 0 and "exists already" in again.stderr and len(cloud.calls("create")) == 1
    other_size = cloud.script("create.sh", HSD_ACCELERATOR="v6e-64")
    assert other_size.returncode == 2 and "exists as v5p-128" in other_size.stderr
    cloud.resource("ACTIVE", owner="somebody-else")
    for name in ("create.sh", "setup.sh", "launch.sh"):
        done = cloud.script(name)
        assert done.returncode == 2 and "did not create it" in done.stderr
    assert cloud.script("delete.sh", "--yes").returncode == 2 and cloud.exists
    assert not cloud.calls("delete")


def test_delete_asks_first_and_reports_what_stays(cloud: Cloud) -> None:
    cloud.resource("ACTIVE")
    assert cloud.script("delete.sh").returncode == 2 and cloud.exists, "no answer is no"
    cloud.write("stuck", "1")
    done = cloud.script("delete.sh", "--yes")
    assert done.returncode == 1 and "may cost money" in done.stderr


def test_quota_refusal_names_quota_and_leaves_nothing(cloud: Cloud) -> None:
    cloud.write("create", "quota")
    done = cloud.script("create.sh")
    assert done.returncode == 1 and not cloud.exists
    assert "no quota for v5p-128 (spot) in us-east5-a" in done.stderr and "TPUV5PPreemptible" in done.stderr
    cloud.write("create", "permission")
    assert "roles/tpu.admin" in cloud.script("create.sh").stderr


def test_half_created_slice_is_cleaned_up(cloud: Cloud) -> None:
    cloud.write("create", "half")
    done = cloud.script("create.sh")
    assert done.returncode == 1 and "half created" in done.stderr and not cloud.exists


def test_half_created_nodes_are_named(cloud: Cloud) -> None:
    cloud.write("nodes", "CREATING")
    done = cloud.script("create.sh", "--wait")
    assert done.returncode == 1 and "its node hsd is CREATING" in done.stderr


def test_waiting_ends_when_the_request_fails(cloud: Cloud) -> None:
    cloud.resource("WAITING_FOR_RESOURCES")
    cloud.write("states", "WAITING_FOR_RESOURCES\nPROVISIONING\nFAILED")
    done = cloud.script("create.sh", "--wait")
    assert done.returncode == 1 and "became FAILED" in done.stderr


@pytest.mark.parametrize("state", ["SUSPENDED", "FAILED"])
def test_create_replaces_a_dead_resource(cloud: Cloud, state: str) -> None:
    cloud.resource(state)
    done = cloud.script("create.sh", "--wait")
    assert done.returncode == 0 and f"hsd is {state}" in done.stderr
    assert len(cloud.calls("delete")) == 1 and len(cloud.calls("create")) == 1


def test_ssh_failure_is_retried_and_the_silent_worker_named(cloud: Cloud) -> None:
    ready(cloud)
    cloud.write("silent", "1")
    before = len(cloud.calls("ssh"))
    done = cloud.script("launch.sh")
    assert done.returncode == 1 and "no answer from worker: 1" in done.stderr
    all_workers = [call for call in cloud.calls("ssh")[before:] if "--worker=all" in call]
    assert len(all_workers) == 3
    assert cloud.word() == "run: unreachable"


def test_workers_that_differ_are_reported(cloud: Cloud) -> None:
    assert cloud.script("create.sh").returncode == 0
    done = cloud.script("setup.sh", FAKE_DRIFT="1")
    assert done.returncode == 1 and "the workers differ" in done.stderr


def test_scripts_say_what_to_do_without_a_slice(cloud: Cloud) -> None:
    for name in ("setup.sh", "launch.sh", "logs.sh"):
        done = cloud.script(name)
        assert done.returncode == 1 and "run tpu_scripts/create.sh" in done.stderr
    assert cloud.word() == "run: ABSENT"
    cloud.resource("SUSPENDED")
    assert "SUSPENDED, not ACTIVE" in cloud.script("launch.sh").stderr


def test_watch_recreates_a_preempted_slice_that_resumes_by_itself(cloud: Cloud) -> None:
    """SUSPENDED -> deleted and created again with the very same startup script, which alone brings the run back."""
    settings = {"HSD_AUTOSTART": "1"}
    assert cloud.script("create.sh", "--", "--steps", "10", **settings).returncode == 0
    first = (cloud.home / "startup.sh").read_text()
    cloud.resource("SUSPENDED")
    cloud.write("code", "0")
    watch = subprocess.Popen(
        [cloud.checkout / "tpu_scripts" / "watch.sh", "--", "--steps", "11"],
        env={**cloud.environment, **settings, "HSD_POLL_SECONDS": "0.2"}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 30
    while len(cloud.calls("create")) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for worker in ("hsd-w0", "hsd-w1"):  # what the new machines do at boot
        boot = (cloud.home / "startup.sh").read_text().replace("WORKER", worker)
        (cloud.home / "vm" / worker).mkdir(parents=True, exist_ok=True)
        subprocess.run(["bash", "-c", boot], env={**cloud.environment, "FAKE_HOST": worker}, check=True)
    said = watch.communicate(timeout=30)[1]
    assert watch.returncode == 0, said
    assert (cloud.home / "startup.sh").read_text() == first and "--steps 10" in first
    assert "costs money" in said


def test_watch_sets_up_and_launches_where_there_is_no_startup_script(cloud: Cloud) -> None:
    cloud.resource("SUSPENDED")
    cloud.write("code", "0")
    done = cloud.script("watch.sh", "--delete-when-done")
    assert done.returncode == 0, done.stderr
    assert "the run is done" in done.stderr and not cloud.exists


def test_watch_gives_up_on_a_run_that_keeps_failing(cloud: Cloud) -> None:
    cloud.write("code", "1")
    ready(cloud)
    done = cloud.script("watch.sh", HSD_RETRIES="2", HSD_POLL_SECONDS="0.2")
    assert done.returncode == 1 and "3 times in a row" in done.stderr and cloud.exists
    cloud.write("code", "2")
    assert cloud.script("launch.sh").returncode == 0
    cloud.wait_for("refused")
    assert cloud.script("watch.sh").returncode == 2


def test_watch_launches_a_worker_for_which_the_others_wait(cloud: Cloud) -> None:
    """One that ends while it starts can tell nobody, and the others wait for it; it is not launched for ever."""
    ready(cloud)
    supervisor = cloud.home / "vm" / "hsd-w0" / "run" / "supervisor"
    os.killpg(int(supervisor.read_text()), signal.SIGKILL)
    cloud.wait_for("partly")
    cloud.write("code", "1")
    done = cloud.script("watch.sh", HSD_RETRIES="1", HSD_POLL_SECONDS="0.3", HSD_PARTLY_LOOKS="2")
    assert "a worker has ended; the others should notice" in done.stderr
    assert "hsd-w1 running already" in done.stdout + done.stderr
    assert done.returncode == 1 and "the others wait for a worker that has ended 2 times in a row" in done.stderr


def watched(cloud: Cloud, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """What watch says and does of a run that is done as soon as it has been launched."""
    cloud.write("code", "0")
    return cloud.script("watch.sh", *arguments, HSD_POLL_SECONDS="0.05", **settings)


@pytest.mark.parametrize("error", ["UNAUTHENTICATED: token expired", "Network is unreachable", "INTERNAL: 500"])
def test_watch_outlives_a_state_that_cannot_be_read(cloud: Cloud, error: str) -> None:
    ready(cloud)
    assert cloud.script("launch.sh", "--stop").returncode == 0
    cloud.write("unreadable", "\n".join([error] * 4))
    done = watched(cloud, HSD_RETRIES="1")
    assert done.returncode == 0, done.stderr
    pauses = [float(x) for x in re.findall(r"could not be read; trying again in (\S+) s", done.stderr)]
    assert pauses == [0.1, 0.2, 0.4, 0.8] and "the run is done" in done.stderr


def test_watch_asks_again_after_a_request_that_failed(cloud: Cloud) -> None:
    """Even where the old slice was deleted before: what is absent then is not a slice that somebody has deleted."""
    cloud.resource("SUSPENDED")
    cloud.write("create", "permission")
    done = watched(cloud, HSD_RETRIES="1")
    assert done.returncode == 0, done.stderr
    assert "create.sh failed; trying again" in done.stderr and "asking for hsd again" in done.stderr


def test_pauses_grow_while_there_is_no_capacity(cloud: Cloud) -> None:
    cloud.resource("SUSPENDED")
    cloud.write("create", "\n".join(["quota"] * 3))
    done = watched(cloud)
    assert done.returncode == 0, done.stderr
    assert [float(x) for x in re.findall(r"create.sh failed; trying again in (\S+) s", done.stderr)] == [0.1, 0.2, 0.4]


def test_watch_ends_a_look_that_never_comes_back(cloud: Cloud) -> None:
    ready(cloud)
    assert cloud.script("launch.sh", "--stop").returncode == 0
    cloud.write("unreadable", "HANG")
    done = watched(cloud, HSD_LOOK_SECONDS="5")
    assert done.returncode == 0 and done.stderr.count("the state could not be read") == 1, done.stderr


def test_watch_deletes_until_the_slice_is_gone(cloud: Cloud) -> None:
    cloud.write("code", "0")
    ready(cloud)
    cloud.wait_for("done")
    cloud.write("stuck", "1\n1")
    done = watched(cloud, "--delete-when-done")
    assert done.returncode == 0 and done.stderr.count("delete.sh failed; trying again") == 2, done.stderr
    assert not cloud.exists


@pytest.mark.parametrize("error", ["gcloud: command not found", "NOT_FOUND: credentials", "404: account not found"])
def test_what_else_is_not_found_is_no_sign_that_the_slice_is_gone(cloud: Cloud, error: str) -> None:
    cloud.resource("ACTIVE")
    cloud.write("unreadable", error)
    done = cloud.script("delete.sh", "--yes")
    assert done.returncode == 1 and "cannot read the queued resource" in done.stderr and cloud.exists


def test_a_run_that_fails_soon_after_each_start_is_given_up_although_it_was_seen_running(cloud: Cloud) -> None:
    ready(cloud)
    executable(cloud.home.parent / "bin" / "training", "#!/bin/bash\nsleep 3\nexit 1\n")
    for place in cloud.home.glob("vm/*/venv/bin/python"):
        shutil.copy(cloud.home.parent / "bin" / "training", place)
    assert cloud.script("launch.sh", "--stop").returncode == 0
    done = cloud.script("watch.sh", HSD_RETRIES="1", HSD_POLL_SECONDS="0.3", HSD_STEADY_LOOKS="1000")
    assert done.returncode == 1 and "running" in done.stderr and "2 times in a row" in done.stderr, done.stderr


def test_watch_says_that_a_slice_was_deleted(cloud: Cloud) -> None:
    done = watched(cloud)
    assert done.returncode == 1 and "is gone; run create.sh" in done.stderr


@pytest.mark.parametrize("state", ["PREEMPTED", "TERMINATED"])
def test_a_node_that_was_taken_away_under_an_active_resource_is_seen(cloud: Cloud, state: str) -> None:
    ready(cloud)
    assert cloud.script("launch.sh", "--stop").returncode == 0
    cloud.write("nodes", state)
    assert f"node hsd is {state}" in cloud.script("status.sh").stdout and cloud.word() == "run: PREEMPTED"
    shutil.rmtree(cloud.home / "vm")
    cloud.write("nodes", "PREEMPTED")
    done = watched(cloud)
    assert done.returncode == 0 and len(cloud.calls("create")) == 2, done.stderr


def test_a_worker_that_is_not_set_up_is_not_taken_for_a_done_run(cloud: Cloud) -> None:
    cloud.write("code", "0")
    ready(cloud)
    cloud.wait_for("done")
    shutil.rmtree(cloud.home / "vm" / "hsd-w1")
    assert cloud.word() == "run: absent"
    done = watched(cloud, "--delete-when-done")
    assert done.returncode == 0 and (cloud.home / "vm" / "hsd-w1" / "run" / "exit_code").read_text() == "0", done.stderr


def test_a_worker_whose_setup_broke_is_set_up_again(cloud: Cloud) -> None:
    """Its startup script ended early; the others may already wait for it."""
    assert cloud.script("create.sh", HSD_AUTOSTART="1").returncode == 0
    boot = (cloud.home / "startup.sh").read_text()
    for worker, extra in (("hsd-w0", ""), ("hsd-w1", "uv() { return 1; }; export -f uv; ")):
        (cloud.home / "vm" / worker).mkdir(parents=True, exist_ok=True)
        environment = {**cloud.environment, "FAKE_HOST": worker}
        ended = subprocess.run(["bash", "-c", extra + boot.replace("WORKER", worker)], env=environment, check=False)
        assert bool(ended.returncode) == bool(extra)
    assert cloud.word() == "run: broken"
    for file in cloud.home.glob("vm/*/run/pid"):
        subprocess.run(["kill", "-TERM", file.read_text()], check=True)
    done = watched(cloud, HSD_AUTOSTART="1")
    assert done.returncode == 0 and "the setup of a worker broke" in done.stderr, done.stderr


def test_workers_that_never_set_themselves_up_are_set_up_from_here(cloud: Cloud) -> None:
    assert cloud.script("create.sh", HSD_AUTOSTART="1").returncode == 0
    done = watched(cloud, HSD_AUTOSTART="1", HSD_STARTUP_LOOKS="3")
    assert done.returncode == 0 and done.stderr.count("setting themselves up") == 2, done.stderr


def test_files_that_do_not_fit_are_not_copied(cloud: Cloud) -> None:
    weights = cloud.home / "bucket" / "b" / "files" / "weights.bin"
    weights.parent.mkdir(parents=True)
    weights.write_text("x")
    cloud.write("size", str(10**18))
    assert cloud.script("create.sh").returncode == 0
    done = cloud.script("setup.sh", HSD_FILES="gs://b/files")
    assert done.returncode == 1 and "gs://b/files has 953674316406 MB, this disk has room for" in done.stderr
    assert not (cloud.home / "vm" / "hsd-w0" / "files" / "weights.bin").exists()


def test_logs_rotate_and_go_to_the_bucket(cloud: Cloud) -> None:
    small = replace(cloud, environment={**cloud.environment, "HSD_LOG_BYTES": "100"})
    ready(small)
    stopped = small.script("launch.sh", "--stop")
    assert stopped.returncode == 0
    run, logs = cloud.home / "vm" / "hsd-w0" / "run", cloud.home / "bucket" / "b" / "runs" / "hsd" / "logs"
    assert "step 1 of" in (run / "train.log.1").read_text() and "saved" in (run / "train.log").read_text()
    shown = small.script("logs.sh").stdout
    assert "step 1 of" in shown and "saved" in shown
    deadline = time.monotonic() + 20
    while "saved" not in "".join(p.read_text() for p in logs.glob("hsd-w0.log")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert any("step 1 of" in p.read_text() for p in logs.glob("hsd-w0-2*.log"))


FAKE_APT = """#!/bin/bash
# Locked twice, then a package of the list APT_HAS is installed as a command.
echo "$*" >>"$APT_HOME/calls"
if [[ $(wc -l <"$APT_HOME/calls") -le 2 ]]; then echo "E: Could not get lock /var/lib/dpkg" >&2; exit 100; fi
name=${@: -1}
if [[ $name == update ]]; then exit 0; fi
if [[ " $APT_HAS " != *" $name "* ]]; then echo "E: Unable to locate package $name" >&2; exit 100; fi
printf '#!/bin/bash\n' >"$APT_HOME/$name"; chmod +x "$APT_HOME/$name"
"""


@pytest.mark.parametrize(
    ("flags", "has", "code"), [([], "", 0), (["--required"], "", 1), (["--required"], "tool-x", 0)]
)
def test_system_packages_wait_for_the_lock_and_fail_when_told_so(
    tmp_path: Path, flags: list[str], has: str, code: int
) -> None:
    executable(tmp_path / "apt-get", FAKE_APT)
    executable(tmp_path / "id", "#!/bin/bash\necho 0\n")
    done = subprocess.run(
        [ROOT / "tools" / "install_system_packages.sh", *flags, "tool-x"], capture_output=True, text=True,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "APT_HOME": str(tmp_path), "APT_HAS": has,
             "APT_PAUSE_SECONDS": "0"},
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    assert ("present: tool-x" if has else "MISSING: tool-x") in done.stdout
    assert ("Unable to locate package" in done.stdout) == (not has), "it says why"


def test_system_packages_do_not_wait_for_ever(tmp_path: Path) -> None:
    executable(tmp_path / "apt-get", "#!/bin/bash\necho 'E: Could not get lock' >&2\nexit 100\n")
    executable(tmp_path / "id", "#!/bin/bash\necho 0\n")
    done = subprocess.run(
        [ROOT / "tools" / "install_system_packages.sh", "--required", "tool-x"], capture_output=True, text=True,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "APT_LOCK_SECONDS": "0"},
    )  # fmt: skip
    assert done.returncode == 1 and "Could not get lock" in done.stdout


def test_pull_copies_metrics_and_leaves_checkpoints(cloud: Cloud, tmp_path: Path) -> None:
    assert cloud.script("pull.sh", "--to", str(tmp_path / "to")).returncode == 1
    for name in ("metrics.jsonl", "checkpoints/10/state"):
        path = cloud.home / "bucket" / "b" / "runs" / "hsd" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    done = cloud.script("pull.sh", "--to", str(tmp_path / "to"))
    assert done.returncode == 0, done.stderr
    assert [p.name for p in (tmp_path / "to").rglob("*")] == ["metrics.jsonl"]


def test_workers_get_weights_and_data_beside_the_code(cloud: Cloud) -> None:
    weights = cloud.home / "bucket" / "b" / "files" / "weights" / "Qwen3-8B-Base" / "config.json"
    weights.parent.mkdir(parents=True)
    weights.write_text("{}")
    files = {"HSD_FILES": "gs://b/files"}
    assert cloud.script("create.sh").returncode == 0
    done = cloud.script("setup.sh", **files)
    assert done.returncode == 0, done.stderr
    for worker in ("hsd-w0", "hsd-w1"):
        assert (cloud.home / "vm" / worker / "code" / "weights" / "Qwen3-8B-Base" / "config.json").read_text() == "{}"
    assert cloud.script("setup.sh", **files).returncode == 0, "repeating it is no error"


PROGRAM = re.compile(r"python -m hsd_jax\.(\w+)(.*)")
COMMAND = re.compile(r"^(?:\w+=\S+ )*tpu_scripts/(\w+\.sh)([^#\n]*)", re.M)


def test_every_command_of_the_operations_page_is_marked_and_understood(cloud: Cloud) -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    fences = re.findall(r"```bash\n(.*?)```", text, re.S)
    used = set()
    for line in "".join(fences).replace("\\\n", " ").splitlines():
        if line.startswith(("gcloud", "ssh-add")):
            assert "[cloud]" in line, line
        if found := COMMAND.match(line):
            used.add(found[1])
            assert "[tested]" in line, line
            before, _, after = found[2].strip().partition("-- ")
            words = [*before.split(), "--dry-run", *(["--", *after.split()] if after else [])]
            variables = dict(word.split("=", 1) for word in line.split("tpu_scripts/")[0].split())
            done = cloud.script(found[1], *words, **{"HSD_AUTOSTART": "0"} | variables)
            assert done.returncode == 0, (line, done.stderr)
        if found := PROGRAM.match(line.strip()):
            assert "[tested]" in line or "[cloud]" in line, line
            assert understood(found[1], shlex.split(found[2], comments=True)), line
    assert used == set(COMMANDS)


def understood(module: str, argv: list[str]) -> bool:
    """Whether a command of ours takes these flags; it does nothing yet."""
    if module == "prepare":
        kind, _ = prepare.COMMANDS[argv[0]]
        return bool(cli.parse(kind, argv[1:], command=module, about=""))
    if module == "report":
        return bool(cli.parse(report.Arguments, argv, command=module, about=""))
    return bool(plan.parse(argv))


def test_setup_and_launch_wait_for_each_other_on_a_worker(cloud: Cloud) -> None:
    """The startup script is at work when somebody sets up and launches over ssh: one training for each worker."""
    assert cloud.script("create.sh").returncode == 0
    assert cloud.script("setup.sh").returncode == 0
    words = [cloud.checkout / "tpu_scripts" / "launch.sh"]
    both = [subprocess.Popen(words, env=cloud.environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = "".join(process.communicate(timeout=60)[0] for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert said.count("running already") == 2 and said.count("running (pid") == 2, said
    assert cloud.script("launch.sh", "--stop").returncode == 0, "and nobody holds the lock while it trains"
    assert cloud.script("setup.sh").returncode == 0


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_the_lock_satisfies_the_requirements_and_pairs_jax_with_libtpu(python: str) -> None:
    from packaging.requirements import Requirement

    here = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux"}
    entries = map(Requirement, (ROOT / "requirements.lock").read_text().splitlines())
    locked = {
        canonical(entry.name): next(iter(entry.specifier)).version
        for entry in entries
        if entry.marker is None or entry.marker.evaluate(here)
    }
    for file in ("requirements.txt", "requirements-dev.txt", "requirements-oracle.txt", "tpu_scripts/requirements.txt"):
        for line in (ROOT / file).read_text().splitlines():
            if not line.startswith(("#", "-r ")):
                wanted = Requirement(line)
                assert wanted.specifier.contains(locked[canonical(wanted.name)]), line
    assert locked["jax"] == locked["jaxlib"]
    if locked["jax"] == version("jax"):
        pair = next(Requirement(line) for line in requires("jax") or () if line.startswith("libtpu"))
        assert pair.specifier.contains(locked["libtpu"])


def canonical(name: str) -> str:
    """A package's name as the lock writes it."""
    return name.lower().replace("_", "-")

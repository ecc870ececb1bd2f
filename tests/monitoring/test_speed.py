"""Speed and use of a step from what its hosts say, in closed form."""

from hsd_jax.monitoring import speed
from hsd_jax.update.metric_table import metric

COMPILED = {"compiled/programs": 2, "compiled/seconds": 30.0}


def test_rates_count_all_chips_and_wait_for_the_slowest_host() -> None:
    fast = {"tokens": 300, "slots": 400, "chips": 4, "in_use": 2**30, "peak": 2**31, "sample": 2.0, "grade": 1.0}
    slow = {"tokens": 500, "slots": 600, "chips": 4, "in_use": 2**29, "peak": 2**32, "sample": 5.0, "grade": 0.0}
    found = speed.of_step([host | {"update": 4.0, **COMPILED} for host in (fast, slow)])
    assert found == {
        "speed/sample": 800 / 5 / 8,
        "speed/update": 800 / 4 / 8,
        "speed/step": 800 / (5 + 1 + 4) / 8,
        "hosts/slots": 0.8,
        "hosts/sample_mean": 3.5,
        "hosts/sample_slowest": 5.0,
        "memory/in_use": 1.0,
        "memory/peak": 4.0,
        "compiled/programs": 4,
        "compiled/seconds": 30.0,
    }
    assert all(metric(name).unit for name in found)


def test_a_host_counts_its_own_chips_and_a_cpu_tells_no_memory() -> None:
    mine = speed.of_host((6, 8), {"sample": 3.0}, COMPILED)
    assert mine["chips"] == 8 and mine["update"] == 0.0
    assert not any(name.startswith("memory/") for name in speed.of_step([mine]))

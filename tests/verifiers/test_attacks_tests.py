"""Tests of one program do not see each other, and none harms the process that starts them."""

import pytest

from hsd_jax.verifiers import code
from hsd_jax.verifiers.sandbox import tiers
from tests.support.attacks_tests import HARM, TRACES
from tests.support.tiers import needs_sandbox, usable_tiers

LIMITS = tiers.Limits(seconds=3.0, memory_bytes=512 << 20)
TESTS = [{"input": f"{n}\n", "output": f"{n}\n"} for n in (1, 2, 3)]

pytestmark = [pytest.mark.sandbox, needs_sandbox]


@pytest.mark.parametrize("tier", usable_tiers(), ids=lambda tier: tier.name)
@pytest.mark.parametrize("name", TRACES | HARM)
def test_every_test_begins_afresh(name: str, tier: tiers.Tier) -> None:
    program = (TRACES | HARM)[name]
    assert code.grade(program, TESTS, limits=LIMITS, tier=tier).reason == "correct"


def test_a_wrong_last_test_is_seen_after_files_were_left() -> None:
    program = "n = input()\nopen('/tmp/x', 'w').write(n)\nprint(n)\n"
    wrong = [*TESTS[:2], {"input": "3\n", "output": "4\n"}]
    tier = tiers.probe()
    if tier.name.startswith("bubblewrap"):
        assert code.grade(program, TESTS, limits=LIMITS, tier=tier).reason == "correct"
    assert code.grade(program, wrong, limits=LIMITS, tier=tier).reason == "wrong"


@pytest.mark.parametrize("tier", usable_tiers(), ids=lambda tier: tier.name)
def test_the_whole_check_of_a_slow_reader_of_programs_has_its_limit(tier: tiers.Tier) -> None:
    # the compiler itself meets the text: deep nesting, long chains, large constants
    for program in (
        "x = " + "[" * 90 + "]" * 90 + "\n",
        "x = 1" + " if 1 else 1" * 3000,
        "(((1,)*9**4,)*9**4)\n" * 2000,
    ):
        verdict = code.grade(program, TESTS, limits=LIMITS, tier=tier)
        assert verdict.reason in ("wrong", "unparsed", "timeout")

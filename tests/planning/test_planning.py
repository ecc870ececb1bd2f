"""Reading compiled programs and compiler messages, and what is advised when a program does not fit."""

import pytest

from hsd_jax.planning import aot, hlo, roofline, verdict
from hsd_jax.planning.chips import GIB, parse_topology
from hsd_jax.planning.compile import Measured

# A module as the TPU compiler prints it, reduced to what is read: a loop of 36 with a gather, and an asynchronous sum.
MODULE = """HloModule jit_step

%add (a: f32[], b: f32[]) -> f32[] {
  ROOT %sum = f32[] add(%a, %b)
}

%fused_computation.1 (p: f32[8]) -> f32[4096,4096] {
  ROOT %inner = f32[4096,4096]{1,0} broadcast(%p)
}

%body (carry: (s32[], bf16[64,4096])) -> (s32[], bf16[64,4096]) {
  %x = bf16[64,4096]{1,0:T(8,128)(2,1)} get-tuple-element(%carry), index=1
  %gather = bf16[4096,1024]{1,0} all-gather(%x), channel_id=1, metadata={op_name="jit(step)/while/body/gather"}
  ROOT %out = (s32[], bf16[64,4096]) tuple(%i, %x)
}

%condition (carry: (s32[], bf16[64,4096])) -> pred[] {
  %i = s32[]{:T(128)} get-tuple-element(%carry), index=0
  %bound = s32[]{:T(128)} constant(36)
  ROOT %less = pred[] compare(%i, %bound), direction=LT
}

ENTRY %main (p0: f32[128,1024]) -> f32[128,1024] {
  %p0 = f32[128,1024]{1,0} parameter(0)
  %start = (f32[128,1024]{1,0}, f32[128,1024]{1,0}) all-reduce-start(%p0), channel_id=2, to_apply=%add
  %done = f32[128,1024]{1,0} all-reduce-done(%start)
  %again = f32[128,1024]{1,0} all-reduce(%p0), channel_id=2, to_apply=%add
  %loop = (s32[], bf16[64,4096]) while(%init), condition=%condition, body=%body
  ROOT %big = f32[2048,1024]{1,0} fusion(%p0), calls=%fused_computation.1, metadata={op_name="jit(step)/big"}
}
"""


def test_loops_count_by_their_length_and_one_channel_once() -> None:
    found = hlo.collectives(MODULE)
    assert found["all-gather"] == {"count": 36.0, "bytes": 36.0 * 4096 * 1024 * 2, "asynchronous": 0.0}
    assert found["all-reduce"]["count"] == found["all-reduce"]["asynchronous"] == 1.0
    assert set(found) == {"all-gather", "all-reduce"}


def test_cycles_count_by_the_length_of_their_loop() -> None:
    def costs(line: str, cycles: int) -> tuple[str, str]:
        return line, f'{line}, backend_config={{"window_config":{{"estimated_cycles":"{cycles}"}}}}'

    text = MODULE.replace(*costs('metadata={op_name="jit(step)/big"}', 1000))
    assert hlo.cycles(text) == 1000
    assert hlo.cycles(text.replace(*costs("get-tuple-element(%carry), index=1", 10))) == 1000 + 36 * 10
    assert hlo.cycles(text.replace('"1000"', f'"{2**63 - 1}"')) == 0, "what the compiler has no estimate for"


def test_seconds_of_programs_are_their_cycles_and_what_waits_for_exchanges() -> None:
    kinds = {"all-gather": {"count": 10.0, "bytes": 180e9, "asynchronous": 5.0}}
    update, unknown = Measured("update", 0, 0, {}, cycles=35e9, collectives=kinds), Measured("decode", 0, 0, {})
    found = roofline.seconds_of(parse_topology("v6e:8x8"), [update, unknown])
    assert found == {"update": 20.0, "exchanges": 0.5}


def test_an_exchange_that_is_fused_with_work_is_asynchronous() -> None:
    begin = '  %c = (bf16[4096,1024]) custom-call(%gather), custom_call_target="AsyncCollectiveStart"\n'
    found = hlo.collectives(MODULE.replace("  ROOT %out", begin + "  ROOT %out"))
    assert found["all-gather"]["asynchronous"] == 36.0


def test_a_plan_says_which_exchanges_its_seconds_leave_out() -> None:
    kinds = {kind: {"count": 10.0, "bytes": 90e9, "asynchronous": beside} for kind, beside in (("a", 4.0), ("b", 0.0))}
    update = Measured("update", 0, 0, {}, collectives=kinds)
    (said,) = verdict.exchanges([Measured("decode", 0, 0, {}), update], parse_topology("v6e:8x8"))
    assert "168 GiB a chip in the update, 1.0 s at the limit of the links; 4 of 20 overlap with other work" in said
    assert verdict.exchanges([Measured("decode", 0, 0, {})], parse_topology("v6e:8x8")) == []


def test_the_largest_buffers_leave_out_what_never_exists() -> None:
    """Parameters and the inside of a fusion are no buffers of their own."""
    first, second = hlo.largest_buffers(MODULE, 2)
    assert first.startswith("f32[2048,1024]: 0.01 GiB, jit(step)/big")
    assert second.startswith("bf16[4096,1024]: 0.01 GiB, jit(step)/gather")


def test_a_loop_of_unknown_length_counts_once() -> None:
    found = hlo.collectives(MODULE.replace("constant(36)", "get-tuple-element(%carry), index=2"))
    assert found["all-gather"]["count"] == 1.0


def test_a_loop_that_may_end_early_counts_once() -> None:
    """Decoding goes on while steps are left and rows work: the constant beside the second comparison is no length."""
    less = "  ROOT %less = pred[] compare(%i, %bound), direction=LT"
    assert less in MODULE
    early = less.replace("ROOT ", "") + "\n  %works = pred[] compare(%i, %steps), direction=LT\n"
    early += "  ROOT %both = pred[] and(%less, %works)"
    assert hlo.collectives(MODULE.replace(less, early))["all-gather"]["count"] == 1.0


@pytest.mark.parametrize(
    ("message", "gib"),
    [
        (
            "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries (57.09G)"
            " exceeds available HBM (15.75G).",
            57.09,
        ),
        (
            "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory space hbm. Used 17.54G of"
            " 15.75G hbm. Exceeded hbm capacity by 1.79G.",
            17.54,
        ),
        ("RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 900.5M of 512M hbm.", 900.5 / 1024),
        ("INTERNAL: RET_CHECK failure in a pass", 0),
    ],
)
def test_out_of_memory_messages_give_the_bytes(message: str, gib: float) -> None:
    assert aot.needed_bytes(message) / GIB == pytest.approx(gib, rel=1e-6)


def test_the_check_on_which_a_compiler_ended_is_found_among_its_words() -> None:
    words = "W1125 23:23 pass.cc:654] slow\nF1125 23:24 utils.cc:79] Check failed: a == b (1 vs. 2) \n*** stack trace"
    assert aot.failed_check(words) == "utils.cc:79] Check failed: a == b (1 vs. 2)"
    assert aot.failed_check("Killed") == ""


def test_without_the_compiler_the_install_line_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r'python -m pip install "jax\[tpu\]==\d'):
        aot.require_libtpu()

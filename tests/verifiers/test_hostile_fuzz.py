"""Random text in place of answers and programs raises nothing and hangs nothing.

300 inputs by default; HSD_JAX_FUZZ_EXAMPLES=10000 runs the long campaign (about 7 minutes on 2 busy cores).
"""

# ruff: noqa: E501 - tables of text read best unwrapped

import json
import os

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hsd_jax.verifiers import code, comparison, math
from hsd_jax.verifiers.equivalence import extraction
from hsd_jax.verifiers.equivalence.tokens import canonical
from hsd_jax.verifiers.sandbox import tiers
from tests.support.tiers import needs_sandbox

EXAMPLES = int(os.environ.get("HSD_JAX_FUZZ_EXAMPLES", "300"))
REASONS = set(math.REASONS)
LIMITS = tiers.Limits(seconds=1.0, memory_bytes=256 << 20)

pieces = st.sampled_from(
    [*"0123456789+-*/^_=<>,.;:!|()[]{}$%&~ xyneiE\\\n", "\\frac{1}{2}", "\\sqrt{", "\\boxed{", "}", "\\left(", "\\right)", "\\pm",
     "\\cup", "\\infty", "\\text{ and }", "\\begin{pmatrix}", "\\end{pmatrix}", "\\\\", "\\le", "\\in", "\\sum_{k=1}^{9}", "\\pi",
     "\\overline{3}", " cm", "°", "½", "−", "\u202e", "\ud800", "\x00", "</think>", "1,000", "0.5", "10^{9}"]
)  # fmt: skip
formulas = st.lists(pieces, max_size=25).map("".join)
texts = st.one_of(formulas, st.text(max_size=60), formulas.map(lambda text: f"\\boxed{{{text}}}"))
tokens = st.sampled_from(
    ["def f(x):", "\n", "    ", "return ", "x", "1", "+", "(", ")", "[", "]", ":", "import os\n", "print(", "input()", "'", '"', "\\",
     "for i in range(9):", "while x:", "class A:", "lambda: ", "yield ", "raise ", "try:", "except:", "\0", "\ud800", "é", "\t", "f",
     "del ", "f'{x}'", "*", "**", "@", "async ", "await ", "exit()", "sum(range(5))"]
)  # fmt: skip
programs = st.one_of(st.lists(tokens, max_size=20).map("".join), st.text(max_size=80))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
answers = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from("ltdsfcbix"), inner | st.lists(inner, max_size=3), max_size=2)
    ),
    max_leaves=8,
)
long = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


@long
@given(texts, formulas)
def test_any_response_gets_a_verdict(response: str, answer: str) -> None:
    verdict = math.grade(response, answer)
    assert verdict.reason in REASONS and verdict.reward == float(verdict.reason == "correct")
    # what a log keeps must be storable
    json.dumps(verdict.extracted)


@long
@given(texts)
def test_extraction_and_spelling_never_raise(text: str) -> None:
    extraction.extract(text)
    canonical(text)
    code.extract_program(text)


@long
@given(values, answers)
def test_comparison_never_raises(expected: object, answer: object) -> None:
    assert comparison.same_value(expected, answer) in (True, False)
    assert comparison.same_multiset(expected, answer) in (True, False)


@long
@given(st.text(max_size=40), st.text(max_size=40))
def test_output_comparison_never_raises_and_accepts_itself(expected: str, printed: str) -> None:
    assert comparison.same_output(expected, printed) in (True, False)
    assert comparison.same_output(expected, expected)


@needs_sandbox
@settings(max_examples=max(30, EXAMPLES // 10), deadline=None, suppress_health_check=list(HealthCheck))
@given(programs, st.booleans())
def test_any_program_gets_a_verdict(program: str, call: bool) -> None:
    tests = [{"call": "f", "args": [1], "output": "never"}] if call else [{"input": "1\n", "output": "never"}]
    verdict = code.grade(program, tests, limits=LIMITS)
    assert verdict.reason in REASONS - {"correct", "crash", "unknown words"} and verdict.reward == 0.0

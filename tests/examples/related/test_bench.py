"""What the related programs say about their seeds."""

import pytest

from examples.related import bench


@pytest.mark.parametrize(
    ("larger", "said"),
    [
        ([1.0, 2.0, 3.0], "+2.000 (-0.484 to +4.484), is not shown"),  # 4.303 is Student's quantile with two degrees
        ([1.9, 2.0, 2.1], "+2.000 (+1.752 to +2.248), appears"),
        ([-1.9, -2.0, -2.1], "-2.000 (-2.248 to -1.752), the opposite appears"),
    ],
)
def test_a_claim_stands_where_the_interval_of_the_differences_is_above_zero(larger: list[float], said: str) -> None:
    assert bench.verdict("claim", larger, [0.0] * 3) == f"claim: {said}"


def test_spread_is_empty_where_nothing_was_measured() -> None:
    assert bench.spread([0.1, 0.4, 0.25]) == "0.250 (0.100 to 0.400)"
    assert bench.spread([float("nan")] * 3) == ""

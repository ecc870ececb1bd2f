"""The table of metrics: docs show it, and nothing is recorded, judged or drawn that it does not know."""

import pytest

from hsd_jax.monitoring import guards
from hsd_jax.reporting.figures import CURVES
from hsd_jax.update.metric_table import METRICS, THRESHOLDS, Threshold, judge, markdown, metric
from tests.support.paths import ROOT


def test_docs_have_the_table_as_it_is() -> None:
    assert markdown() in (ROOT / "docs" / "report.md").read_text()


def test_figures_draw_metrics_of_one_unit() -> None:
    for name, _, metrics in CURVES:
        assert len({metric(key).unit for key, _ in metrics}) == 1, name


def test_guards_watch_metrics_and_read_thresholds_of_the_table() -> None:
    for alarm in guards.ALARMS:
        assert alarm.metric in METRICS and alarm.threshold in THRESHOLDS.values()


def test_rows_that_end_openly_stand_for_all_that_begin_so() -> None:
    assert metric("time/update").unit == "seconds" and metric("eval/pass@16/gsm8k") is METRICS["eval/pass@"]
    for unknown in ("times", "eval/", "reward/x"):
        with pytest.raises(KeyError):
            metric(unknown)


@pytest.mark.parametrize(
    ("value", "threshold", "level"),
    [
        (0.5, Threshold(0.4, 0.2), "ok"),
        (0.3, Threshold(0.4, 0.2), "watch"),
        (0.1, Threshold(0.4, 0.2), "act"),
        (1.0, Threshold(1.0, 5.0), "watch"),
        (5.0, Threshold(1.0, 5.0), "act"),
        (float("nan"), Threshold(1.0, 5.0), "unknown"),
    ],
)
def test_which_side_is_bad_follows_from_the_order_of_the_limits(value: float, threshold: Threshold, level: str) -> None:
    assert judge(value, threshold) == level

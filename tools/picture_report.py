"""Takes the pictures of the documentation from the report of a run, with headless Chromium.

    python -m tools.picture_report --report runs/tiny/report/index.html --out docs/pictures

Writes overview, credit and rollout view, wide and narrow, light and dark. The rollout shown is one of the first
recorded step that failed with a peer, with much credit at its divergence.
"""

import sys
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

import tyro

sys.path.append(str(Path(__file__).parents[1]))
from tests.support.browser import Page, chromium  # noqa: E402


@dataclass(frozen=True)
class Settings:
    """Which report, and where the pictures go."""

    report: Path
    """index.html of a report."""
    out: Path = Path("docs/pictures")
    """Directory for the PNG files."""


# (name, view, width, height, dark)
PICTURES = (
    ("report-overview", "overview", 1280, 800, False),
    ("report-credit", "credit", 1280, 1230, False),
    ("report-rollout", "rollouts", 1280, 900, False),
    ("report-rollout-dark", "rollouts", 1280, 900, True),
    ("report-rollout-narrow", "rollouts", 390, 844, False),
)


def main(settings: Settings) -> None:
    """Opens the report once for each picture."""
    settings.out.mkdir(parents=True, exist_ok=True)
    with chromium() as page:
        for name, view, width, height, dark in PICTURES:
            page.size(width, height, dark=dark)
            page.open(f"{settings.report.resolve().as_uri()}#{view}")
            if view == "rollouts":
                show_divergence(page)
            page.picture(settings.out / f"{name}.png")
            print(f"{name}.png: {view}, {width} x {height}")


def show_divergence(page: Page) -> None:
    """A failed rollout with strong credit at its divergence, with that token under the inspector."""
    rank = """JSON.parse(document.getElementById('data').textContent).groups
        .filter((g, _, all) => g.step === Math.min(...all.map(one => one.step)))
        .flatMap(g => g.rollouts.map((r, i) => ({step: g.step, question: g.id, rollout: i, token: r.divergence, ...r})))
        .filter(r => r.reward <= 0 && r.peer >= 0 && r.divergence >= 0).sort((a, b) => b.peak - a.peak).slice(0, 40)
        .map(r => ['step', 'question', 'rollout', 'token'].map(name => [name, String(r[name])]))"""
    base, best = page.run("location.href.split('#')[0]"), (0.0, "#rollouts")
    for query in page.run(rank):
        address = "#rollouts?" + urllib.parse.urlencode(dict(query))
        page.open(base + address)
        credit = page.run("Math.abs(document.activeElement.dataset.credit || 0)")
        best = max(best, (credit, address))
    page.open(base + best[1])


if __name__ == "__main__":
    main(tyro.cli(Settings))

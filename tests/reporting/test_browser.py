"""The page in headless Chromium, opened from disk: what a reader sees, hears, presses, and what must never run."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hsd_jax.report import Arguments, write_report
from tests.support.browser import Page, chromium
from tests.support.report_workdir import make_workdir, problem, write_groups

pytestmark = pytest.mark.browser

SHOWN = "document.documentElement.dataset.shown"
EVIL = [
    "<script>document.title='owned';window.owned=1</script>",
    "</pre></div></body><img src=x onerror=\"window.owned=1\">",
    "\u202eright to left\u202c \u2066\u2069\u200f",
    "javascript:window.owned=1",
    "\u0000\u0007\ufeff\u2028",
    "{{ 7*7 }} ${7*7} %3Cscript%3E",
]  # fmt: skip


@pytest.fixture(scope="module")
def tab() -> Iterator[Page]:
    with chromium() as page:
        yield page


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = make_workdir(tmp_path_factory.mktemp("browser") / "run", steps=3, problems=3, group=6)
    write_report(Arguments(path))
    return path


@pytest.fixture
def raw(workdir: Path) -> list[dict]:
    files = sorted((workdir / "rollouts").glob("*.jsonl"))
    return [json.loads(line) for path in files for line in path.read_text().splitlines()]


def address(workdir: Path, view: str = "rollouts") -> str:
    return (workdir / "report" / "index.html").as_uri() + "#" + view


def shown(tab: Page) -> tuple[int, int]:
    tab.run("new Promise(done => setTimeout(done, 60))")
    group, rollout = tab.run(SHOWN).split("/")
    return int(group), int(rollout)


def all_rollouts(raw: list[dict]) -> list[dict]:
    return [rollout for group in raw for rollout in group["rollouts"]]


def test_opens_from_disk_with_one_request_and_no_complaint(tab: Page, workdir: Path, raw: list[dict]) -> None:
    for view in ("overview", "credit", "rollouts"):
        tab.open(address(workdir, view))
        assert tab.run(f"!document.getElementById('view-{view}').hidden")
        assert len(tab.requests) == 1 and tab.errors == [] and tab.dialogs == []
    assert tab.run("document.documentElement.dataset.ready") == str(len(all_rollouts(raw)))
    assert tab.run("document.querySelector('.tabs .count').textContent") == str(len(all_rollouts(raw)))


def test_shows_the_rollout_as_it_was_recorded(tab: Page, workdir: Path, raw: list[dict]) -> None:
    tab.open(address(workdir, "rollouts?step=20&question=tiny-0020-001&rollout=2"))
    group = next(group for group in raw if group["question_id"] == "tiny-0020-001")
    rollout = group["rollouts"][2]
    assert tab.run("document.getElementById('question-text').textContent") == group["question"]
    assert tab.run("document.getElementById('answer-text').textContent") == group["answer"]
    assert tab.run("document.getElementById('teacher-text').textContent") == group["contexts"][rollout["context"]]
    verdict = tab.run("document.getElementById('verdict').textContent")
    assert f"Reward {rollout['reward']}" in verdict and rollout["reason"].replace("_", " ") in verdict
    tokens = tab.run("[...document.querySelectorAll('.t[data-side=left]')].map(span => span.textContent)")
    assert tokens == rollout["tokens"]
    peer = tab.run("[...document.querySelectorAll('.t[data-side=right]')].map(span => span.textContent)")
    assert peer == (group["rollouts"][rollout["peer"]]["tokens"] if rollout["peer"] >= 0 else [])


def test_colors_follow_recorded_credit(tab: Page, workdir: Path, raw: list[dict]) -> None:
    tab.open(address(workdir))
    credit = raw[0]["rollouts"][0]["credit"]
    limit = tab.run("JSON.parse(document.getElementById('data').textContent).credit_limit")
    script = """[...document.querySelectorAll('.t[data-side=left]')].map(span => ({
        side: span.classList.contains('pos') ? 1 : span.classList.contains('neg') ? -1 : 0,
        strength: Number(span.style.getPropertyValue('--strength') || 0),
        color: getComputedStyle(span).backgroundColor }))"""
    spans = tab.run(script)
    assert len(spans) == len(credit)
    for span, value in zip(spans, credit, strict=True):
        strength = min(1.0, abs(value) / limit) ** (2 / 3)
        assert span["strength"] == pytest.approx(strength if strength > 0.011 else span["strength"], abs=0.003)
        assert span["side"] == (np.sign(value) if strength > 0.011 else span["side"])
    strong = {span["side"]: span["color"] for span in spans if span["strength"] > 0.2}
    none = {span["color"] for span in spans if span["side"] == 0}
    assert len(set(strong.values()) | none) == len(strong) + len(none)


@pytest.mark.parametrize("dark", [False, True])
def test_tinted_text_keeps_its_contrast(tab: Page, workdir: Path, dark: bool) -> None:
    tab.size(1280, 900, dark=dark)
    tab.open(address(workdir))
    # The browser itself mixes the colors: drawn on a canvas, read back as numbers, weakest text on strongest tint.
    script = """(() => {
        const brush = Object.assign(document.createElement('canvas'), {width: 1, height: 1}).getContext('2d');
        const span = document.querySelector('.t');
        const read = (...colors) => { for (const c of colors) { brush.fillStyle = c; brush.fillRect(0, 0, 1, 1); }
            return [...brush.getImageData(0, 0, 1, 1).data].slice(0, 3); };
        const surface = getComputedStyle(document.getElementById('rollout')).backgroundColor;
        return ['pos', 'neg'].map((side) => {
            span.className = 't strong ' + side; span.style.setProperty('--strength', 1);
            const tint = getComputedStyle(span).backgroundColor;
            return [read(surface, tint), read(surface, tint, getComputedStyle(span).color)]; });
    })()"""
    for ground, ink in tab.run(script):
        light, dim = sorted((luminance(ground), luminance(ink)), reverse=True)
        assert (light + 0.05) / (dim + 0.05) >= 4.5
    tab.size(1280, 900)


def luminance(color: list[int]) -> float:
    """Relative luminance of an sRGB color (WCAG)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (value / 255 for value in color)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_filters_count_and_lead_to_their_rollouts(tab: Page, workdir: Path, raw: list[dict]) -> None:
    rollouts = all_rollouts(raw)
    expected = {
        "all": len(rollouts),
        "failed-with-peer": sum(r["reward"] == 0 and r["peer"] >= 0 for r in rollouts),
        "fallback": sum(r["peer"] < 0 and r["context"] >= 0 for r in rollouts),
        "truncated": sum(not r["finished"] for r in rollouts),
    }
    tab.open(address(workdir))
    for name, count in expected.items():
        assert tab.run(f"document.querySelector('[data-filter={name}] .count').textContent") == str(count)
    tab.press("2")
    seen = set()
    for _ in range(expected["failed-with-peer"]):
        group, rollout = shown(tab)
        seen.add((group, rollout))
        found = raw[group]["rollouts"][rollout]
        assert found["reward"] == 0 and found["peer"] >= 0
        tab.press("j")
    assert len(seen) == expected["failed-with-peer"]
    tab.run("document.querySelector('[data-filter=largest-credit]').click()")
    group, rollout = shown(tab)
    peaks = [max(map(abs, r["credit"])) for r in rollouts]
    assert max(map(abs, raw[group]["rollouts"][rollout]["credit"])) == max(peaks)


def test_keyboard_reaches_everything(tab: Page, workdir: Path, raw: list[dict]) -> None:
    tab.open(address(workdir))
    assert shown(tab) == (0, 0)
    tab.press("j", "ArrowRight")
    assert shown(tab) == (0, 2)
    tab.press("k")
    assert shown(tab) == (0, 1)
    tab.press("n")
    assert shown(tab) == (1, 0)
    tab.press("b")
    assert shown(tab) == (0, 0)
    g, r = next((g, r) for g, group in enumerate(raw) for r, x in enumerate(group["rollouts"]) if x["divergence"] > 0)
    found = raw[g]["rollouts"][r]
    tab.open(address(workdir, f"rollouts?step={raw[g]['step']}&question={raw[g]['question_id']}&rollout={r}"))
    tab.press("d")
    assert tab.run("document.activeElement.dataset.t") == str(found["divergence"])
    tab.press("ArrowRight", "ArrowRight", "ArrowLeft")
    assert tab.run("document.activeElement.dataset.t") == str(found["divergence"] + 1)
    tab.press("m")
    assert tab.run("document.activeElement.dataset.t") == str(int(np.argmax(np.abs(found["credit"]))))
    tab.press("Escape")
    assert tab.run("document.activeElement === document.body && document.getElementById('inspector').hidden")
    tab.press("?")
    assert tab.run("!document.getElementById('keys').hidden")
    tab.press("p")
    assert shown(tab) == (g, found["peer"])


def test_inspector_tells_what_was_recorded(tab: Page, workdir: Path, raw: list[dict]) -> None:
    tab.open(address(workdir, "rollouts?step=10&question=tiny-0010-000&rollout=1&token=5"))
    rollout = raw[0]["rollouts"][1]
    text = tab.run("document.getElementById('inspector').innerText")
    assert tab.run("!document.getElementById('inspector').hidden")
    assert f"{100 * np.exp(rollout['student_logprob'][5]):.1f}\N{NO-BREAK SPACE}%" in text
    assert f"{100 * np.exp(rollout['teacher_logprob'][5]):.1f}\N{NO-BREAK SPACE}%" in text
    assert f"{abs(rollout['credit'][5]):.3f}" in text
    chances = tab.run("[...document.querySelectorAll('#inspector ol')].map(list => list.innerText)")
    for name, listed in zip(("top_student", "top_teacher"), chances, strict=True):
        for token, _ in rollout[name][5]:
            assert token.replace(" ", "␣").replace("\n", "↵") in listed
    tab.run(
        "document.querySelector('.t[data-t=\"7\"]').dispatchEvent(new PointerEvent('pointerover', {bubbles: true}))"
    )
    assert "token 7" in tab.run("document.getElementById('inspector').innerText")


def test_a_link_reopens_the_same_view(tab: Page, workdir: Path) -> None:
    tab.open(address(workdir))
    tab.press("4", "j", "d", "ArrowRight")
    where, place = tab.run("location.hash"), tab.run("document.getElementById('place').textContent")
    token = tab.run("document.activeElement.dataset.t")
    at = shown(tab)
    assert "filter=truncated" in where and "step=" in where and "question=" in where
    tab.open(address(workdir, where[1:]))
    assert shown(tab) == at and tab.run("document.getElementById('place').textContent") == place
    assert tab.run("document.activeElement.dataset.t") == token
    tab.press("Escape", "k")
    before = shown(tab)
    tab.run("history.back()")
    tab.wait(f"{SHOWN} !== '{before[0]}/{before[1]}'")
    assert shown(tab) == at


def test_a_link_to_nothing_opens_the_first_rollout(tab: Page, workdir: Path) -> None:
    for query in (
        "step=99&question=none",
        "step=10&question=tiny-0010-000&rollout=999&token=x",
        "%%%",
        "occurrence=-1",
    ):
        tab.open(address(workdir, "rollouts?" + query))
        assert tab.errors == []
        assert shown(tab)[0] == 0


@pytest.mark.parametrize("width", [1280, 390])
def test_fits_its_window(tab: Page, workdir: Path, width: int) -> None:
    tab.size(width, 844)
    for view in ("overview", "credit", "rollouts"):
        tab.open(address(workdir, view))
        assert tab.run("document.documentElement.scrollWidth") <= width
    small = tab.run(
        "[...document.querySelectorAll('#viewer button, #viewer select')].filter(element => element.offsetParent)"
        ".filter(element => element.id !== 'peer' && element.getBoundingClientRect().height < 30).length"
    )
    assert small == 0
    tab.press("d")
    box = tab.run("(({left, right}) => [left, right])(document.getElementById('inspector').getBoundingClientRect())")
    assert box[0] >= 0 and box[1] <= width
    tab.size(1280, 900)


def test_aligned_at_the_divergence(tab: Page, workdir: Path) -> None:
    tab.size(1280, 900)
    tab.open(address(workdir))
    tab.press("2")
    shown(tab)
    tops = tab.run("[...document.querySelectorAll('.rest')].map(box => box.getBoundingClientRect().top)")
    assert len(tops) == 2 and tops[0] == tops[1]
    marked = tab.run("[...document.querySelectorAll('.t.at')].map(span => span.dataset.t)")
    assert len(set(marked)) == 1


def test_hostile_text_is_shown_and_never_run(tab: Page, tmp_path: Path) -> None:
    workdir = make_workdir(tmp_path / "run", steps=1, problems=1, group=2)
    long = "w" * 100_000
    group = problem(10, 0, 4, 40, 0.5, np.random.default_rng(0))
    everything = " ".join(EVIL)
    group |= {"question": everything, "answer": everything, "question_id": everything, "source": everything}
    group["contexts"] = [everything + long, everything]
    for rollout in group["rollouts"]:
        rollout |= {"reason": everything, "extracted": everything, "text": everything + long, "context": 0}
        rollout["tokens"][: len(EVIL) + 1] = [*EVIL, long]
        rollout["top_teacher"][0] = [[EVIL[0], 0.5], [EVIL[1], 0.3], [long, 0.1]]
    path = write_groups(workdir, 10, [group])
    path.write_bytes(path.read_bytes().replace(b"What is", b"\xff\xc3\x28 What is"))
    page = write_report(Arguments(workdir))[0]
    for width in (1280, 390):
        tab.size(width, 844)
        tab.open(page.as_uri() + "#rollouts")
        tab.press("d", "Home")
        assert tab.run("document.querySelectorAll('#pair .t').length") > 40
        assert tab.run("document.getElementById('question-text').textContent") == everything
        assert tab.run("document.getElementById('teacher-text').textContent").startswith(EVIL[0])
        tokens = tab.run("[...document.querySelectorAll('.t[data-side=left]')].map(span => span.textContent)")
        assert tokens[: len(EVIL)] == EVIL
        assert set(tokens[len(EVIL)]) == {"w"}
        assert tab.run("document.querySelectorAll('#pair img, #rollout script, main script').length") == 0
        assert tab.run("typeof window.owned") == "undefined" and "owned" not in tab.run("document.title")
        assert len(tab.requests) == 1 and tab.errors == [] and tab.dialogs == []
        assert tab.run("document.documentElement.scrollWidth") <= width
        isolated = tab.run(
            "[...document.querySelectorAll('.t')].every(t => getComputedStyle(t).unicodeBidi === 'isolate')"
        )
        assert isolated
        assert "U+202E" in tab.run("document.querySelectorAll('.t')[2].dataset.hidden")
        tab.run(f"document.querySelectorAll('.t')[{len(EVIL)}].click()")
        assert tab.run(f"document.querySelectorAll('.t')[{len(EVIL)}].textContent.length") == 100_000
    tab.size(1280, 900)


def test_empty_and_young_runs_give_a_page(tab: Page, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    young = make_workdir(tmp_path / "young", steps=1, problems=0)
    bare = make_workdir(tmp_path / "bare", steps=1, problems=1, group=2)
    group = problem(10, 0, 2, 20, 0.5, np.random.default_rng(0)) | {"contexts": []}
    kept = ("text", "tokens", "reward", "reason")
    group["rollouts"] = [{key: rollout[key] for key in kept} for rollout in group["rollouts"]] + [
        {"text": "only text"},
        {},
    ]
    write_groups(bare, 10, [group])
    for path in (tmp_path / "new", young, bare):
        page = write_report(Arguments(path))[0]
        for view in ("overview", "credit", "rollouts"):
            tab.open(f"{page.as_uri()}#{view}")
            tab.press("j", "d", "m", "p", "2", "n")
            assert tab.errors == [] and len(tab.requests) == 1
            assert tab.run(f"document.getElementById('view-{view}').innerText.length") > 20
    tab.open(page.as_uri() + "#rollouts")
    assert "No teacher text" in tab.run("document.getElementById('rollout').innerText")
    tab.press("j", "j")
    assert "only text" in tab.run("document.getElementById('pair').innerText")


def test_charts_tell_their_numbers(tab: Page, workdir: Path) -> None:
    tab.open(address(workdir, "credit"))
    tab.run("document.querySelector('#figure-credit_by_offset details').open = true")
    tab.wait("document.querySelector('#figure-credit_by_offset table')")
    assert tab.run("document.querySelectorAll('#figure-credit_by_offset tbody tr').length") == 39
    find = "document.querySelector('#figure-credit_by_offset .chart').getBoundingClientRect()"
    left, top, width, height = tab.run(f"(({{left, top, width, height}}) => [left, top, width, height])({find})")
    tab.call("Input.dispatchMouseEvent", type="mouseMoved", x=left + width / 2, y=top + height / 2)
    said = tab.run("document.querySelector('#figure-credit_by_offset .readout').textContent")
    assert said.startswith("tokens from the divergence ")

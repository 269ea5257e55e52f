"""The page in a real browser: nothing sticks out at desktop and phone width, light and dark; nothing is fetched."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import CHROMIUM, Browser
from fake_reports import adult, digits, lonely, names, tones

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")

# Elements that reach beyond the window's right edge, but for what scrolls in a container of its own.
OUTSIDE = """[...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll, svg')
    && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"""
# Text smaller than a reader can make out, in the figures as they are scaled.
SMALLEST = """Math.min(...[...document.querySelectorAll('svg text')].map(e =>
    parseFloat(getComputedStyle(e).fontSize) * Math.hypot(e.getCTM().a, e.getCTM().b)))"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    browser = Browser()
    yield browser
    browser.close()


@pytest.fixture(
    scope="module",
    params=[
        digits,
        lambda: adult(300),
        *(pytest.param(made, marks=pytest.mark.nightly) for made in (lonely, names)),
        tones,
    ],
    ids=["digits", "adult", "lonely", "names", "tones"],
)
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return request.param().write(tmp_path_factory.mktemp("report"))


@pytest.mark.parametrize(("width", "dark"), [(390, False), (1280, True)], ids=["narrow and light", "wide and dark"])
def test_the_page_fits(browser: Browser, page: Path, width: int, dark: bool) -> None:
    browser.open(page, width, dark=dark)
    assert browser.evaluate("innerWidth") == width
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    assert browser.evaluate(OUTSIDE) == []
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == (
        "rgb(19, 20, 22)" if dark else "rgb(251, 251, 250)"
    )
    assert browser.complaints() == []
    assert [url for url in browser.requests() if not url.startswith("data:")] == [page.as_uri()]


def test_the_ranking_can_be_seen(browser: Browser, page: Path) -> None:
    browser.open(page, 390)
    seen = browser.evaluate(
        "[...document.querySelectorAll('.ranking .says')].filter(e => e.checkVisibility()).map(e => e.innerText)"
    )
    assert len(seen) == browser.evaluate("document.querySelectorAll('.ranking > li').length") > 0
    assert seen[0].lower().startswith("exact density; ")
    top = browser.evaluate("document.querySelector('.verdict').getBoundingClientRect().top")
    assert 0 < top < 400  # the verdict stands on the first screen


def test_figures_are_drawn_and_legible(browser: Browser, page: Path) -> None:
    browser.open(page, 390)
    heights = browser.evaluate(
        "[...document.querySelectorAll('figure svg, figure img')].map(e => e.getBoundingClientRect().height)"
    )
    assert heights
    assert min(heights) > 80
    assert browser.evaluate(SMALLEST) >= 6.5
    assert browser.evaluate("[...document.images].every(i => i.naturalWidth > 0)")


def test_the_browser_would_see_what_is_wrong(browser: Browser, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text("<div style='width:2000px'>wide</div><img src='missing.png'><script>undefined_name()</script>")
    browser.open(bad, 1280)
    assert browser.evaluate("document.documentElement.scrollWidth") > 1280
    assert browser.evaluate(OUTSIDE) != []
    assert len(browser.complaints()) >= 2
    assert len(browser.requests()) == 2

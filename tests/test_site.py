"""Test the site's pages: what every family says of itself, and, nightly, that all is built and fits a phone."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest
from browser import CHROMIUM, Browser

import genus
from genus.cli import main

ROOT = Path(__file__).resolve().parents[1]
WIDTHS = {"phone": 390, "desktop": 1280}


OURS = sorted(
    name for name, cls in genus.families().items() if cls.__module__.startswith("genus.models.") and not name.startswith("doc-")
)


@pytest.mark.parametrize("name", OURS)
def test_a_family_says_what_it_is_and_what_it_is_good_and_bad_for(name: str) -> None:
    info = genus.family(name).info
    assert all((info.title, info.group, info.takes, info.formula, info.good, info.bad))
    assert not any(said.endswith(".") for said in (info.good, info.bad))
    page = inspect.getdoc(genus.family(name)) or ""
    assert re.search(r"\b(?:19|20)\d\d\b", page), "the paper"
    assert ">>> " in page, "an example"


def test_the_command_line_shows_one_family(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["families", "maf"]) == 0
    shown = capsys.readouterr().out
    assert genus.MAF.info.formula in shown
    assert "hidden: widths" in shown
    assert main(["families", "mfa"]) == 1
    assert "There is no family 'mfa'" in capsys.readouterr().err


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs", reason="the site's tools are not installed: pip install 'genus[docs]'")
    out = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    env = os.environ | {"GENUS_SITE_SECONDS": "1", "NO_MKDOCS_2_WARNING": "1"}
    made = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr[-2000:]
    return out


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_every_family_has_a_page_with_its_figure(site: Path) -> None:
    for name in OURS:
        page = (site / "families" / name / "index.html").read_text(encoding="utf-8")
        page = re.sub(r"<details.*?</details>", "", page, flags=re.DOTALL)  # the source of its class
        text, info = unescape(re.sub(r"<[^>]*>", "", page)), genus.family(name).info
        assert all(said.replace("`", "") in text for said in (info.formula, info.good, info.bad)), name
        assert re.search(r"\b(?:19|20)\d\d\b", text), f"the paper of {name}"
        assert ">>> " in text, f"an example of {name}"
        assert (site / "families" / f"{name}.png").stat().st_size > 5_000


@pytest.fixture
def browser() -> Iterator[Browser]:
    browser = Browser()
    yield browser
    browser.close()


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
@pytest.mark.parametrize("device", WIDTHS)
def test_no_page_is_wider_than_the_window(device: str, site: Path, browser: Browser) -> None:
    for page in sorted(site.rglob("index.html")):
        browser.open(page, WIDTHS[device])
        assert browser.evaluate("document.documentElement.scrollWidth") <= WIDTHS[device], page
        assert browser.evaluate("document.querySelectorAll('h1').length") >= 1, page
        assert browser.evaluate("[...document.images].filter(i => !i.naturalWidth).length") == 0, page


def test_objects_show_themselves_in_notebooks() -> None:
    data = genus.read("iris")
    model = genus.MADE(data.space)
    history = genus.fit(model, data, max_steps=4, progress=False)
    for shown in (data, data.space, model, history, genus.divergences.DIVERGENCES["kl"]):
        assert shown._repr_html_().startswith("<pre")
    assert "<svg" in history._repr_html_() or len(history.rows) < 2
    assert genus.MADE.info.formula in model._repr_html_()

"""The tour: what a page is, what happens where a number is off, and the quick pages themselves."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from browser import CHROMIUM, Browser
from command import run
from test_browser import OUTSIDE, SMALLEST

from genus import GenusError
from genus.tour import Number, page, picture, registered_pages, run_pages, write_html

# Those that train no net, or hardly: the others take a minute together, and `genus tour` runs them.
QUICK = [
    "taxonomy",
    "naive-bayes",
    "chain-rule",
    "markov-chain",
    "bag-of-the-past",
    "recurrence",
    "causal-masking",
    "one-pass-or-many",
    "evidence",
    "one-bit",
    "saturation",
    "coupling",
    "penalty",
    "entropy",
]
TRAINED = {
    "two-directions",
    "mean-field",
    "flow",
    "teacher-and-student",
    "autoencoder",
    "optimal-discriminator",
    "value-of-the-game",
    "parallel-lines",
    "lipschitz-critic",
    "clipping-and-penalty",
    "finite-samples",
}


def test_every_page_is_here() -> None:
    assert set(QUICK) | TRAINED == set(registered_pages())


@pytest.mark.parametrize("name", QUICK)
def test_quick_pages_are_right_with_any_seed(name: str) -> None:
    for seed in (0, 5):
        tour = run_pages([name], seed)
        assert tour.wrong == []
        assert tour.numbers


@pytest.mark.parametrize("name", ["value-of-the-game", "optimal-discriminator"])
def test_pages_that_learn(name: str) -> None:
    assert run_pages([name]).wrong == []


def test_pages_explain_themselves_and_repeat() -> None:
    for one in registered_pages().values():
        assert one.formulas
        assert len(one.text) > 80, one.name
    first, second = (run_pages(["naive-bayes"], 3) for _ in range(2))
    assert [n.value for n in first.numbers] == [n.value for n in second.numbers]


def test_numbers_are_judged() -> None:
    assert Number("", 1.04, 1.0, 0.05).right
    assert not Number("", 1.06, 1.0, 0.05).right
    assert Number("", -3.0, 1.0, 0.0, "≤").right
    assert not Number("", 1.1, 1.0, 0.05, "≤").right
    assert Number("", 1.0, 1.0, 0.0, "≥").right
    assert not Number("", math.nan, 1.0, math.inf, "≥").right
    assert not Number("", 5.0, math.inf, 1.0).right
    assert not Number("", math.inf, 5.0, 1.0).right


@pytest.fixture
def own_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page of a researcher's own, one number of which is off."""
    monkeypatch.setattr("genus.tour.pages._pages", registered_pages())

    @page("Mine", "Two & two", "2 + 2 = <b>4</b>")
    def my_sum(seed: int):
        """Two and two. They are <four>."""
        yield Number("sum", 2 + 2, 4)
        yield Number("sum & more", 2 + 2, 5, 0.5)
        yield picture("A line", lambda axes: axes.plot([0, 1], [2, 4]))


@pytest.mark.usefixtures("own_page")
def test_a_page_is_one_function_and_a_number_off_fails_the_command(tmp_path: Path) -> None:
    out = tmp_path / "tour.html"
    done = run("tour", "--only", "my-sum", "--out", str(out))
    assert done.code == 1
    assert "1 of 2 numbers are off: my-sum: sum & more is 4, expected 5 ± 0.5" in done.err
    assert "✗" in done.out
    html = out.read_text(encoding="utf-8")
    assert "2 + 2 = <b>4</b>" in html
    assert "They are &lt;four&gt;." in html
    assert "Two &amp; two" in html
    assert html.count('<tr class="off">') == 1
    assert "<svg" in html


def test_the_command_writes_a_page_and_numbers(tmp_path: Path) -> None:
    out = tmp_path / "sub" / "tour.html"
    done = run("tour", "--only", "penalty, taxonomy", "--out", str(out), "--seed", "1", "--json", "--quiet")
    assert done.code == 0, done.err
    said = json.loads(done.out)
    assert said["right"]
    assert [one["name"] for one in said["pages"]] == ["penalty", "taxonomy"]
    assert said["pages"][0]["numbers"][0] == {
        "name": "penalty of inputs of shape 4",
        "value": pytest.approx(1.0),
        "expected": 1.0,
        "tolerance": 1e-9,
        "relation": "=",
        "right": True,
    }
    assert not done.err
    html = out.read_text(encoding="utf-8")
    assert "<script" not in html
    assert "http" not in html.replace("http-equiv", "").replace("http://www.w3.org", "")


def test_an_unknown_page_is_named() -> None:
    with pytest.raises(GenusError, match="no page 'nonsense'; there are taxonomy"):
        run_pages(["nonsense"])
    assert run("tour", "--only", "nonsense").code == 1


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_it_fits_a_desktop_and_a_phone(tmp_path: Path) -> None:
    tour = run_pages(["causal-masking", "coupling", "saturation", "recurrence"])
    path = write_html(tour, tmp_path / "tour.html")
    browser = Browser()
    try:
        for width in (390, 1280):
            browser.open(path, width)
            assert browser.evaluate("document.documentElement.scrollWidth") == width
            assert browser.evaluate(OUTSIDE) == []
            assert browser.evaluate(SMALLEST) >= 6.5
            assert browser.complaints() == []
    finally:
        browser.close()

"""The README and the pages beside it: their Python runs, the table of families is the registry's."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

import genus

README = Path(__file__).resolve().parents[1] / "README.md"


DEAR = ("anomalies", "distillation", "extending", "images", "synthetic")
RUN = sorted(page.stem for page in README.parent.glob("docs/*.md") if ">>> " in page.read_text("utf-8"))
PAGES = ["README", *(f"docs/{name}" for name in RUN)]


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=pytest.mark.nightly if page.endswith(DEAR) else ()) for page in PAGES]
)
def test_the_examples_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, example: object) -> None:
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testfile(str(README.parent / f"{page}.md"), module_relative=False)
    assert tried > 0
    assert failed == 0


def test_every_question_has_a_page_with_its_picture_and_its_limits() -> None:
    listed = re.findall(r"\]\((\w+)\.md\) \| `genus", (README.parent / "docs" / "questions.md").read_text("utf-8"))
    assert len(listed) == 5
    for name in [*listed, "text", "images"]:
        page = (README.parent / "docs" / f"{name}.md").read_text("utf-8")
        assert f"](figures/{name}.png)" in page
        assert "\n## Limits\n" in page
        assert ">>> " in page


def test_the_readme_is_short_and_its_links_lead_somewhere() -> None:
    text = README.read_text(encoding="utf-8")
    assert len(text.split()) <= 900
    for page in README.parent.glob("*.md"), README.parent.glob("docs/*.md"):
        for path in page:
            links = re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8"))
            assert [link for link in links if not (path.parent / link).exists()] == []
    assert (README.parent / "docs" / "report.png").stat().st_size < 300_000


def test_the_table_of_families_is_the_registry() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| (\w+) \| (.+) \|$", README.read_text(), re.M)
    families = genus.families().items()
    own = {name: cls for name, cls in families if getattr(genus, cls.__name__, None) is cls}  # not those of tests and examples
    expected = [(name, cls.info.likelihood, cls.info.takes) for name, cls in own.items()]
    assert sorted(rows) == sorted(expected)

"""The README and the pages beside it: their Python runs, the table of families is the registry's."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

import genus

README = Path(__file__).resolve().parents[1] / "README.md"


PAGES = [
    "README.md",
    *(
        f"docs/{name}.md"
        for name in ("python", "data", "flows", "latent", "distances", "distillation", "extending", "questions")
    ),
]


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=pytest.mark.nightly if page in ("docs/distillation.md", "docs/extending.md") else ())
        for page in PAGES
    ],
)
def test_the_examples_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, example: object) -> None:
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testfile(str(README.parent / page), module_relative=False)
    assert tried > 5
    assert failed == 0


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

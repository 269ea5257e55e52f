"""Words of the data where they go out: terminals, spreadsheets and pages take them as words and as nothing else."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Iterator
from contextlib import redirect_stdout
from html.parser import HTMLParser
from pathlib import Path

import pytest
from command import run

import genus
from genus.cli import main
from genus.evaluation.report import Report
from genus.hub import model_card
from genus.notebook import printable
from genus.tour.html import write_html
from genus.tour.pages import Number, page, registered_pages
from genus.tour.run import run_pages

ESCAPE, COLUMN = "ok\x1b]0;owned\x07", "=ev\x1b[31mil"
MARKUP = "--></style></svg><script>alert(1)</script><img src=x onerror=alert(1)>\"'` ``` {{7*7}}"
COMPARED = ("--families", "naive-bayes", "--no-stack", "--seeds", 1, "--jobs", 1, "--budget", "1s")
LEVELS = {COLUMN: ["=1+1", ESCAPE, "@a", "-x", "plain"], MARKUP: [MARKUP, "\u202eemoR", "+1, too"]}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path, rng = tmp_path_factory.mktemp("hostile") / "hostile.csv", random.Random(0)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["age", *LEVELS])
        writer.writerows([rng.randrange(-40, 40), *map(rng.choice, LEVELS.values())] for _ in range(150))
    return path


@pytest.fixture(scope="module")
def model(hostile: Path) -> Path:
    out = hostile.with_name("hostile.genus")
    assert run("fit", hostile, "--family", "naive-bayes", "--out", out, "--quiet").code == 0
    return out


@pytest.fixture(scope="module")
def report(hostile: Path) -> Report:
    data = genus.read(hostile, target=MARKUP)
    return genus.compare(data, ["naive-bayes"], seeds=1, budget=1, jobs=1, stack=False, progress=False)


# -- terminals ------------------------------------------------------------------------------------------------------------


def test_what_steers_a_terminal_is_written_out() -> None:
    assert printable("a\x1b[2Jb\x9b\x7f\r\n\tc\rd\u202e") == "a\\u001b[2Jb\\u009b\\u007f\r\n\tc\\u000dd\\u202e"
    assert printable("größe, 数, שלום") == "größe, 数, שלום"


def test_no_command_steers_the_terminal(hostile: Path, model: Path, tmp_path: Path) -> None:
    words = [
        ("describe", hostile),
        ("describe", hostile, "--json"),
        ("fit", hostile, "--family", "naive-bayes", "--out", tmp_path / "m.genus"),
        ("compare", hostile, *COMPARED, "--out", tmp_path / "report"),
        ("predict", model, hostile, "--column", "\x1b[31m"),
        ("describe", tmp_path / "\x1b[31m.csv"),
    ]
    for line in words:
        done = run(*line)
        assert printable(done.out) == done.out
        assert printable(done.err) == done.err


class Terminal(io.StringIO):
    """A stdout that a person looks at."""

    def isatty(self) -> bool:
        return True


def test_results_are_raw_in_a_pipe_and_printable_on_a_terminal(model: Path) -> None:
    words = ["sample", str(model), "-n", "50", "--seed", "1"]
    assert ESCAPE in run(*words).out
    with redirect_stdout(Terminal()) as terminal:
        assert main(words) == 0
    assert "\x1b" not in terminal.getvalue()
    assert printable(ESCAPE) in terminal.getvalue()


# -- spreadsheets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["sample", "impute", "predict"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_cells_that_a_spreadsheet_runs_are_said_and_marked(
    command: str, suffix: str, hostile: Path, model: Path, tmp_path: Path
) -> None:
    line = {
        "sample": ("sample", model, "-n", 200, "--seed", 1),
        "impute": ("impute", model, hostile),
        "predict": ("predict", model, hostile, "--column", MARKUP),
    }[command]
    plain, safe = (tmp_path / f"{name}{suffix}" for name in ("plain", "safe"))
    said = run(*line, "--out", plain)
    assert said.code == 0
    assert "formulas  cells of" in said.err
    assert "--safe-csv" in said.err
    assert run(*line, "--safe-csv", "--out", safe).code == 0
    rows, marked = (list(_rows(path)) for path in (plain, safe))
    texts = [cell for row in rows for cell in row if cell[:1] in "=+-@\t\r" and not _is_number(cell)]
    assert texts
    assert [[f"'{c}" if c[:1] in ("=", "+", "-", "@") and not _is_number(c) else c for c in row] for row in rows] == marked


def test_tables_without_such_cells_say_nothing(tmp_path: Path) -> None:
    assert run("fit", "iris", "--family", "naive-bayes", "--out", tmp_path / "m.genus", "--quiet").code == 0
    plain, safe = (run("sample", tmp_path / "m.genus", "-n", 20, "--seed", 1, *more) for more in ((), ("--safe-csv",)))
    assert plain.out == safe.out
    assert "formulas" not in plain.err


def test_scores_that_explain_themselves_are_marked(hostile: Path, model: Path) -> None:
    done = run("score", model, hostile, "--explain", "--safe-csv")
    assert done.code == 0
    assert not [cell for row in csv.reader(io.StringIO(done.out)) for cell in row if cell.startswith(("=", "@"))]


def _rows(path: Path) -> Iterator[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.reader(file, delimiter="\t" if path.suffix == ".tsv" else ",")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# -- pages ----------------------------------------------------------------------------------------------------------------


class Harm(HTMLParser):
    """Collect the tags and attributes of a page that could run anything, and what leaves its comments."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        bad = tag in ("script", "iframe", "object", "embed", "base", "form")
        names = [name for name, value in attrs if name.startswith("on") or "javascript:" in (value or "").lower()]
        self.found += [tag] if bad or names or ("src", "x") in attrs else []


def test_the_checker_sees_what_is_not_escaped() -> None:
    assert Harm(f"<p>{MARKUP}</p>").found == ["script", "img"]


def test_the_report_holds_no_markup_of_the_data(report: Report, tmp_path: Path) -> None:
    text = report.write(tmp_path).read_text(encoding="utf-8")
    assert not Harm(text).found
    assert not Harm(report._repr_html_()).found
    assert "&lt;script&gt;" in text


def test_the_tour_holds_no_markup_of_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genus.tour.pages._pages", registered_pages())

    @page(MARKUP, MARKUP, "1")
    def hostile_words(seed: int) -> Iterator[Number]:
        yield Number(MARKUP, 1, 1)

    text = write_html(run_pages(["hostile-words"]), tmp_path / "tour.html").read_text(encoding="utf-8")
    assert not Harm(text).found
    assert "&lt;script&gt;" in text


def test_what_notebooks_show_holds_no_markup_of_the_data(hostile: Path, model: Path) -> None:
    dataset, loaded = genus.read(hostile), genus.load(model)
    for shown in (dataset, dataset.space, loaded):
        assert not Harm(shown._repr_html_()).found


def test_a_card_shows_names_in_a_block_and_verdicts_without_markup(report: Report, model: Path) -> None:
    card = model_card(genus.load(model), "me/hostile", report)
    fence = next(line for line in card.splitlines() if line.startswith("```"))
    before, _, after = card.partition(f"{fence}\n")
    inside, _, rest = after.partition(f"\n{fence}\n")
    assert MARKUP in inside
    assert fence not in inside
    assert not Harm(before + rest).found

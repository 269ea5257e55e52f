"""The report: its order and words, its files, its pictures."""

import itertools
import json
import math
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from fake_reports import XSS, adult, adult_rows, adult_space, density, digits, lonely, row
from markupsafe import escape

from genus.errors import GenusError
from genus.evaluation import plots
from genus.evaluation.figures import number, plus_minus
from genus.evaluation.ranking import distance
from genus.evaluation.report import Report
from genus.evaluation.results import Row
from genus.space import Category, Lattice, Real, Space


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return adult(300).write(tmp_path_factory.mktemp("adult")).read_text(encoding="utf-8")


def report_of(*rows: Row, **more: object) -> Report:
    return Report("toy", Space([Real()]), list(rows), metrics=digits().metrics, **more)  # type: ignore[arg-type]


# -- order and words ------------------------------------------------------------------------------------------------------


def test_densities_come_first_then_samples_then_refused_then_failed() -> None:
    places = adult(50).ranking()
    assert [place.row.family for place in places] == ["maf", "mixture", "vae", "independent", "wgan-gp", "nice", "iaf"]
    assert [place.by for place in places] == ["density"] * 4 + ["samples"] + ["nothing"] * 2
    assert [place.mark for place in places] == ["1=", "1=", "3", "4", "–", "–", "–"]


def test_sentences_say_what_the_number_is() -> None:
    said = {place.row.family: place.sentence for place in adult(50).ranking()}
    assert said["maf"] == "exact density; 3.18 ± 0.03 nats better than independent columns"
    assert said["vae"].startswith("bound: the true log-density is at least this; 0.86 ± 0.03 nats better")
    assert said["vae"].endswith("the estimate from 64 importance samples is −40.90 nats a row")
    assert said["wgan-gp"].startswith(
        "no density (implicit): compared by samples alone; a classifier tells them from real rows with AUC 0.78"
    )
    assert said["nice"].startswith("it models real numbers only")
    assert said["iaf"].endswith("lower the learning rate.")


def test_worse_and_no_different_are_said() -> None:
    floor = row("independent", "", "", 0.1, **density(-5, 0, 0))
    worse = row("maf", "", "", 0.1, **density(-6, -1.0, -1.0, se=0.3))
    same = row("nsf", "", "", 0.1, **density(-5.1, -0.1, -0.1, se=0.3))
    report = report_of(worse, floor, same)
    said = {place.row.family: place.sentence for place in report.ranking()}
    assert "1.0 ± 0.1 nats worse than independent columns" in said["maf"].replace("1.00 ± 0.10", "1.0 ± 0.1")
    assert "no different from independent columns (−0.10 ± 0.10 nats a row)" in said["nsf"]
    assert "Nothing is better than independent columns" in report.verdict


@pytest.mark.parametrize(("se", "tie"), [(0.51, True), (0.49, False)])
def test_a_tie_is_within_two_standard_errors(se: float, tie: bool) -> None:
    best = row("maf", "", "", 0.5, **density(-4, 1, 0))
    other = row("mixture", "", "", 0.5, **(density(-5, 0.5, -1.0) | {"best_difference_se": se}))
    report = report_of(other, best)
    assert ("tied" in report.verdict) is tie
    assert [place.mark for place in report.ranking()] == (["1=", "1="] if tie else ["1", "2"])
    assert ("maf leads at this budget: 1.0 ± 0.5 nats a row better than mixture" in report.verdict) is not tie
    assert report.best is best


def test_a_lead_smaller_than_the_seeds_spread_is_said() -> None:
    best = row("maf", "", "", 0.5, **(density(-4, 1, 0) | {"seed_spread": 2.0}))
    other = row("mixture", "", "", 0.5, **(density(-5, 0.5, -1.0) | {"best_difference_se": 0.1}))
    assert "smaller than what a change of seed does" in report_of(best, other).verdict
    best.seed_spread = 0.01
    assert "change of seed" not in report_of(best, other).verdict


def test_the_verdict_is_honest_about_bounds() -> None:
    assert "dequantised maf and vae give only lower bounds and may truly stand higher" in digits().verdict
    bound = row("vae", "", "", 0.5, "bound", estimate=-3.0, **density(-5, 1, -1))
    exact = row("maf", "", "", 0.5, **density(-4, 2, 0))
    assert "By the importance-weighted estimate, vae is above maf." in report_of(bound, exact).verdict
    winner = row("vae", "", "", 0.5, "bound", **density(-3, 3, 0))
    behind = row("maf", "", "", 0.5, **density(-4, 2, -1))
    assert "its true lead is at least this" in report_of(winner, behind).verdict
    behind.best_difference_se = 2.0
    assert "it may truly be ahead" in report_of(winner, behind).verdict
    behind.label = "bound"
    assert "their true order may be another" in report_of(winner, behind).verdict


def test_better_than_chance_is_noise_and_ties_by_samples_are_said() -> None:
    """A classifier below one half tells nothing; what is as close as other real rows is not ranked."""
    names = ("maf", "nsf", "vae")
    rows = [row(name, "", "", 0.5, **density(-4 - i, 1 - i, -float(i))) for i, name in enumerate(names)]
    report = report_of(*rows)
    report.references = {"real against real": {"c2st": 0.40}}
    for one, auc in zip(rows, (0.70, 0.51, 0.55), strict=True):
        one.metrics["c2st"] = auc
    assert "By samples alone, nsf is the hardest to tell from real rows" in report.verdict
    rows[0].metrics["c2st"], rows[1].metrics["c2st"] = 0.34, 0.50
    assert (
        "maf and nsf are no easier to tell from real rows than other real rows are (real against real 0.40)" in report.verdict
    )


def test_a_family_that_had_no_time_is_said() -> None:
    a, b = row("maf", "", "", 0.5, **density(-4, 1, 0)), row("gpt", "", "", 0.5, **density(-6, -1, -2))
    report = report_of(a, b)
    assert "seconds" not in report.verdict
    b.steps = 1.5
    assert "The clock stopped gpt after fewer than 50 steps: give more seconds before you compare." in report.verdict
    assert "stopped by the clock when it had hardly begun (steps: 2)" in report.ranking()[1].sentence
    b.stopped = "early stopping"
    assert "clock" not in report.verdict


def test_without_any_density_or_any_fit() -> None:
    a, b = row("gan", "", "", 0.2, "none"), row("wgan-gp", "", "", 0.6, "none")
    report = report_of(a, b)
    assert [place.row.family for place in report.ranking()] == ["wgan-gp", "gan"]
    assert "By samples alone wgan-gp comes first (a classifier’s AUC 0.68, where 0.5 cannot be told apart)" in report.verdict
    refused = report_of(Row("maf", status="refused", reason="no"))
    assert refused.best is None
    assert refused.verdict == "No family could be fitted; the sentences below say why."
    assert report_of().best is None


def test_an_infinite_log_density_is_no_density() -> None:
    report = report_of(row("maf", "", "", 0.5, log_density=-math.inf), row("vae", "", "", 0.5, "bound", **density(-9, 0, 0)))
    assert [place.by for place in report.ranking()] == ["density", "samples"]
    assert "no finite log-density" in report.ranking()[1].sentence


@pytest.mark.parametrize(
    ("value", "se", "text"),
    [(-12.3456, 0.213, "−12.3 ± 0.2"), (3.14159, 0.0123, "3.142 ± 0.012"), (-1234.5, 25.0, "−1,234 ± 25"), (0.5, 0.0, "0.500"),
     (2.0, 0.0996, "2.00 ± 0.10"), (math.nan, 1.0, "–")],
)  # fmt: skip
def test_plus_minus(value: float, se: float, text: str) -> None:
    assert plus_minus(value, se) == text


def test_number() -> None:
    assert [number(v) for v in (None, 0.0, -0.1234, 12.345, 123456.0)] == ["–", "0.00", "−0.123", "12.35", "123,456"]


# -- files ----------------------------------------------------------------------------------------------------------------


def test_json_holds_every_number_and_is_strict(tmp_path: Path) -> None:
    report = adult(50)
    report.rows[0].metrics["energy"] = math.nan
    report.write(tmp_path)

    def refuse(name: str) -> None:
        raise AssertionError(name)

    data = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"), parse_constant=refuse)
    rows = {line["family"]: line for line in data["rows"]}
    assert list(rows) == [place.row.family for place in report.ranking()]
    assert rows["mixture"]["metrics"]["energy"] is None
    for row_ in report.rows:
        for key in (
            "log_density",
            "log_density_se",
            "bits_per_dim",
            "baseline_difference",
            "best_difference_se",
            "seconds",
            "seeds",
        ):
            assert rows[row_.family][key] == getattr(row_, key), key
    assert rows["maf"]["metrics_spread"] == report.rows[1].metrics_spread
    assert rows["maf"]["histories"][2] == report.rows[1].histories[2].rows
    assert rows["vae"]["sentence"] == report.ranking()[2].sentence
    assert data["references"] == report.references
    assert Space.from_json(data["space"]) == report.space
    assert data["metrics"]["c2st"]["ideal"] == 0.5


def test_results_come_back_from_json(tmp_path: Path) -> None:
    report = adult(50)
    report.rows[0].metrics["energy"] = math.nan
    page = report.write(tmp_path)
    again = Report.from_json(json.loads(page.with_name("report.json").read_text(encoding="utf-8")))
    assert again.to_json() == report.to_json()
    assert str(again) == str(report)
    assert math.isnan(next(row for row in again.rows if row.family == report.rows[0].family).metrics["energy"])


def test_frame_has_a_line_for_every_family_and_reference() -> None:
    report = adult(50)
    frame = report.to_frame()
    assert frame.num_rows == len(report.rows) + len(report.references)
    lines = {line["family"]: line for line in frame.to_pylist()}
    assert lines["vae"]["log_density"] == -41.4
    assert lines["vae"]["c2st_spread"] == report.rows[3].metrics_spread["c2st"]
    assert lines["iaf"]["status"] == "failed"
    assert lines["iaf"]["c2st"] is None
    assert lines["real against real"]["c2st"] == 0.5


def test_written_again_it_is_the_same(tmp_path: Path) -> None:
    first = lonely().write(tmp_path / "deep" / "folder").read_text(encoding="utf-8")
    assert lonely().write(tmp_path / "deep" / "folder").read_text(encoding="utf-8") == first
    assert sorted(path.name for path in (tmp_path / "deep" / "folder").iterdir()) == ["index.html", "report.json"]


def test_a_folder_that_cannot_be_written_is_one_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(GenusError, match=r"Cannot write .*taken.*Choose a folder"):
        lonely().write(tmp_path / "taken")
    if os.geteuid() == 0:
        return  # root may write anywhere
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(GenusError, match="Permission denied"):
        lonely().write(tmp_path / "locked")


def test_the_terminal_shows_verdict_table_and_sentences() -> None:
    report = adult(50)
    text = str(report)
    flat = " ".join(text.split())
    assert report.verdict in flat
    assert re.search(r"1= +mixture +−39\.12 ± 0\.09 +exact +0\.592", text)
    assert re.search(r"^nice: ", text, re.MULTILINE)
    assert "R²" not in text  # nothing was measured with it
    for place in report.ranking():
        assert f"{place.row.family}: {place.sentence}" in flat


# -- the page -------------------------------------------------------------------------------------------------------------


class Outline(HTMLParser):
    """What a page is made of; checks that elements are closed in order."""

    VOID = frozenset({"meta", "link", "img", "path", "circle", "rect", "use", "image"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_is_well_formed_and_self_contained(page: str) -> None:
    outline = Outline(page)
    addresses = [v for _, attrs in outline.tags for k, v in attrs.items() if k in ("src", "href", "xlink:href", "action") and v]
    assert all(address.startswith(("data:", "#")) or address == "report.json" for address in addresses)
    assert not re.search(r"@import|url\((?!#)", page)
    assert not [tag for tag, _ in outline.tags if tag in ("script", "iframe", "object")]
    assert "default-src 'none'" in page
    assert len(page) < 3_000_000


def test_names_of_columns_and_levels_are_escaped(page: str) -> None:
    assert XSS not in page
    assert XSS in " ".join(Outline(page).words)  # but a reader sees it as it is
    assert "capital loss, in $ and $$" in page  # no mathematics


def test_families_without_numbers_are_one_short_table_and_every_column_is_explained(tmp_path: Path) -> None:
    report = adult(50)
    late = [Row(name, status="given up", reason="no time") for name in ("rnn", "gpt", "made")]
    report.rows += late
    page = report.write(tmp_path).read_text(encoding="utf-8")
    assert page.count("no time") == 1
    assert "rnn, gpt, made" in page
    used = [metric for key, metric in report.metrics.items() if any(key in row.metrics for row in report.rows)]
    assert len(used) > 5
    for metric in used:
        assert page.count(str(escape(metric.description))) == 2  # as a title of its column, and below the table


def test_markup_in_any_word_is_escaped(tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)>\"'&"
    x = torch.tensor([[0.0], [1.0], [1.0]])
    one = row(evil, evil, evil, 0.5, samples=x, **density(-1, 0, 0))
    two = Row(evil + "2", evil, evil, "failed", evil)
    space = Space([Category((evil, "b"))], names=[evil])
    names = dict.fromkeys(("context_columns", "target", "baseline", "machine", "created"), evil)
    report = Report(
        evil,
        space,
        [one, two],
        references={evil: {"c2st": 0.5}},
        metrics=digits().metrics,
        real=x,
        versions={evil: evil},
        **names,
    )
    text = report.write(tmp_path).read_text(encoding="utf-8")
    assert "<img src=x" not in text
    assert not [attrs for _, attrs in Outline(text).tags if "onerror" in attrs]


def test_it_is_accessible(page: str) -> None:
    outline = Outline(page)
    tags = [tag for tag, _ in outline.tags]
    assert tags.count("h1") == 1
    levels = [int(tag[1]) for tag in tags if re.fullmatch("h[1-6]", tag)]
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert all(attrs.get("alt") for tag, attrs in outline.tags if tag == "img")
    assert all(attrs.get("scope") in ("col", "row") for tag, attrs in outline.tags if tag == "th")
    figures = [attrs for tag, attrs in outline.tags if tag == "svg"]
    assert all(attrs.get("aria-label") or attrs.get("aria-hidden") for attrs in figures)
    ids = [attrs["id"] for tag, attrs in outline.tags if "id" in attrs and re.fullmatch("section|h[1-6]", tag)]
    assert len(ids) == len(set(ids))


def test_every_number_of_the_tables_stands_there(page: str) -> None:
    words = " ".join(" ".join(Outline(page).words).split())
    report = adult(300)
    assert report.verdict in words
    for place in report.ranking():
        assert place.sentence in words
    for text in (
        "−39.08",
        "+3.18",
        "0.564",
        "real against real",
        "copy of the training set",
        "Coverage",
        "184,320",
        "torch 2.13.0",
    ):
        assert text in words, text


def test_references_copy_stands_only_with_memorisation(page: str) -> None:
    tables = [re.sub(r"<[^>]*>", " ", table) for table in re.findall(r"<table[ >].*?</table>", page, flags=re.S)]
    assert ["copy of the training set" in table for table in tables] == [False, False, False, False, True, False]
    assert ["real against real" in table for table in tables] == [False, False, True, True, True, False]


def test_figures_follow_the_page_and_colours_can_be_read() -> None:
    css = (Path(plots.__file__).parent / "templates" / "report.css").read_text()
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", part)) for part in css.split("@media (prefers-color-scheme: dark)")
    )

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        return sum(
            w * (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4)
            for w, p in zip((0.2126, 0.7152, 0.0722), parts, strict=True)
        )

    def contrast(a: str, b: str) -> float:
        high, low = sorted((luminance(a), luminance(b)), reverse=True)
        return (high + 0.05) / (low + 0.05)

    for scheme in (light, dark):
        assert len([name for name in scheme if re.fullmatch(r"f\d", name)]) == 8
        for name in [f"f{i}" for i in range(8)]:
            assert contrast(scheme[name], scheme["card"]) >= 3, name
        for ink, paper in [
            ("ink", "page"),
            ("soft", "page"),
            ("soft", "sunken"),
            ("accent", "card"),
            *((c, f"{c}-bg") for c in ("exact", "bound", "estimate", "none", "failed")),
        ]:
            assert contrast(scheme[ink], scheme[paper]) >= 4.5, (ink, paper)


# -- what may be missing or odd ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["real", "samples", "histories", "metrics"])
def test_a_report_without_something_is_still_a_page(missing: str, tmp_path: Path) -> None:
    report = adult(60)
    if missing == "real":
        report.real = None
    elif missing == "metrics":
        report.metrics, report.references = {}, {}
    else:
        for r in report.rows:
            setattr(r, missing, None if missing == "samples" else [])
    text = report.write(tmp_path).read_text(encoding="utf-8")
    assert report.ranking()[0].sentence in text
    assert ('id="pictures"' in text) is (missing != "real")
    assert ('id="learning"' in text) is (missing != "histories")


@pytest.mark.parametrize(
    "space",
    [
        Space([Real()]),
        Space([Lattice(0, 3, atoms=(math.nan,))]),
        Space([Category(("a",)), Real()]),
        Space(Real(), shape=(3, 5, 4)),
    ],
    ids=repr,
)
def test_odd_spaces_can_be_drawn(space: Space, tmp_path: Path) -> None:
    constant = torch.zeros(20, *space.shape)
    if isinstance(space.kinds[0], Lattice):
        constant[:] = math.nan
    report = Report(
        "odd", space, [row("maf", "", "", 0.5, samples=constant, **density(-1, 0, 0))], real=constant, metrics=digits().metrics
    )
    Outline(report.write(tmp_path).read_text(encoding="utf-8"))


def test_a_wide_table_is_a_small_page_soon(tmp_path: Path) -> None:
    space = Space([Real()] * 300)
    x = torch.randn(100, 300)
    report = Report("wide", space, [row("maf", "", "", 0.5, samples=x, **density(-1, 0, 0))], real=x, metrics=digits().metrics)
    text = report.write(tmp_path).read_text(encoding="utf-8")
    assert "The 24 of 300 columns" in text
    assert len(text) < 3_000_000


def test_the_fake_rows_belong_to_their_space() -> None:
    adult_space().check(adult_rows(500, 0))


def test_the_best_samples_are_those_most_like_real_rows() -> None:
    """Few real rows are not perfect themselves: what is beyond them is no better."""
    a, b = row("maf", "", "", 0.5, **density(-4, 1, 0)), row("nsf", "", "", 0.5, **density(-5, 0, -1))
    report = report_of(a, b)
    report.references = {"real against real": {"density": 1.8, "w1": 2.5, "precision": 0.8}}
    a.metrics |= {"density": 1.7, "w1": 2.6, "precision": 0.7}
    b.metrics |= {"density": 1.3, "w1": 2.2, "precision": 0.97}
    away = {key: [distance(report, key, one.metrics[key]) for one in (a, b)] for key in ("density", "w1", "precision")}
    assert away["density"] == pytest.approx([0.1, 0.5])
    assert away["w1"] == pytest.approx([0.1, 0.0])
    assert away["precision"] == pytest.approx([0.1, 0.0])


def test_copies_among_the_held_out_rows_are_said() -> None:
    one = row("maf", "", "", 0.5, **density(-4, 1, 0))
    report = report_of(one)
    one.metrics["copies_unseen"] = 0.1
    assert "training rows too" not in report.verdict
    one.metrics["copies_unseen"] = 0.96
    assert "96% of the held-out rows stand among the training rows too" in report.verdict
    report.space = Space([Category(("a", "b"))] * 3)  # where there are no other rows
    assert "training rows too" not in report.verdict


def test_few_rows_do_not_order_families_by_their_samples() -> None:
    rows = [row(name, "", "", 0.5, **density(-4 - i, 1 - i, -float(i))) for i, name in enumerate(("maf", "nsf", "vae"))]
    report = report_of(*rows)
    for one, auc in zip(rows, (0.70, 0.66, 0.95), strict=True):
        one.metrics["c2st"] = auc
    report.test_rows = 100_000
    assert "nsf is the hardest to tell from real rows" in report.verdict
    report.test_rows = 200
    assert "maf and nsf are the hardest to tell from real rows, too alike for an order among them" in report.verdict
    report.test_rows = 10
    assert "hardest" not in report.verdict

"""The `genus` command: what it prints, what it writes, what it answers to a mistake."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
import resource
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import typer
from command import run
from PIL import Image

import genus
from genus.cli import _command, app
from genus.cli.inputs import context_values, parse_duration, parse_hyperparameters
from genus.cli.pictures import image_grid
from genus.codec.tabular import as_table

COMMANDS = [
    "families", "describe", "compare", "evaluate", "fit", "tune", "sample", "score", "impute", "predict", "forecast",
    "reconstruct", "interpolate", "distill", "serve", "tour",
]  # fmt: skip


def adult(rows: int = 300) -> str:
    """A table of mixed kinds, as CSV: spaces around texts, a missing marker, a column that is mostly zero."""
    rng = np.random.default_rng(0)
    lines = ["age,workclass,hours per week,capital.gain,income"]
    for _ in range(rows):
        rich = rng.random() < 0.3
        gain = rng.integers(1000, 9000) if rng.random() < 0.1 + 0.2 * rich else 0
        work = rng.choice([" Private", " State-gov", " ?"], p=[0.6, 0.3, 0.1])
        lines.append(f"{rng.integers(17, 80)},{work}, {rng.integers(20, 60)},{gain}, {'>50K' if rich else '<=50K'}")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder, the current one, with everything that the examples name."""
    here = tmp_path_factory.mktemp("genus")
    (here / "adult.csv").write_text(adult())
    (here / "adult-test.csv").write_text(adult(80))
    (here / "new.csv").write_text(adult(20))
    (here / "tabsyn.csv").write_text(adult(100))
    pq.write_table(
        pa.table({"age": [30, 40] * 50, "workclass": [" ?"] * 100, "income": ["<=50K"] * 100}), here / "ctgan.parquet"
    )
    for name, days in (("sales", range(1, 25)), ("last-month", range(1, 9))):
        lines = [f"{shop},2026-01-{day:02d},{20 + 3 * (day % 7)}" for shop in ("north", "south") for day in days]
        (here / f"{name}.csv").write_text("\n".join(["shop,day,sold", *lines]) + "\n")
    (here / "book.txt").write_text("ROMEO:\nBut soft, what light?\n\nJULIET:\nAy me!\n\n" * 20)
    rng = np.random.default_rng(0)
    for label in ("cats", "dogs"):
        (here / "images" / label).mkdir(parents=True)
        for i in range(60):
            Image.fromarray(rng.integers(0, 255, (4, 4), dtype=np.uint8)).save(here / "images" / label / f"{i}.png")
    before = Path.cwd()
    os.chdir(here)
    yield here
    os.chdir(before)


@pytest.fixture(scope="module")
def models(folder: Path) -> dict[str, Path]:
    """Models of three rungs, with and without a condition, of a table and of images."""
    made = {
        "exact": ("adult.csv", "mixture"),
        "bound": ("adult.csv", "vae", "--set", "hidden=16", "--steps", "30"),
        "none": ("adult.csv", "wgan-gp", "--set", "hidden=16", "--steps", "10"),
        "conditional": ("adult.csv", "mixture", "--context", "income"),
        "images": ("digits", "naive-bayes", "--context", "label"),
    }
    for name, (data, family, *more) in made.items():
        assert run("fit", data, "--family", family, *more, "--out", f"{name}.model").code == 0
    return {name: folder / f"{name}.model" for name in made}


@pytest.fixture
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that wait for each other on a busy machine make the metrics of a few rows ten times slower."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0}, raising=False)


# -- help -----------------------------------------------------------------------------------------------------------------


def examples(command: str) -> list[str]:
    """The worked examples in a command's help."""
    text = run(*([command] if command else []), "--help").out
    return [line.strip() for line in text.split("Examples:")[1].splitlines() if line.startswith("    genus ")]


@pytest.mark.parametrize(
    "command", ["", *(pytest.param(c, marks=() if c == "sample" else pytest.mark.nightly) for c in COMMANDS)]
)
def test_help_is_there_at_once_and_without_torch(command: str) -> None:
    code = "import sys; from genus.cli import main; code = main(sys.argv[1:]); sys.exit(9 if 'torch' in sys.modules else code)"
    words = [word for word in (command, "--help") if word]
    used = []
    for _ in range(8):  # processor time, and the least: this machine may be busy with something else
        seconds, done = processor_time(code, *words)
        assert done.returncode == 0, done.stderr
        assert "Examples:" in done.stdout
        used.append(seconds)
        # Of a machine that is slow at the moment, what the libraries that print it take says how slow.
        if seconds < 0.3 or seconds < 2 * processor_time("import typer, typer.rich_utils")[0]:
            return
    pytest.fail(f"the help took {min(used):.2f} s of the processor; at most 0.3 s are promised, and torch alone takes more")


def processor_time(code: str, *words: str) -> tuple[float, subprocess.CompletedProcess[str]]:
    """The seconds of the processor that a program in Python takes, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_example_in_the_help_is_understood(command: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands run in the nightly suite."""
    monkeypatch.chdir(folder)
    for line in examples(command):
        name, *words = shlex.split(line.partition(" > ")[0])[1:]
        context = _command().make_context("genus", [name], resilient_parsing=True)
        context.command.get_command(context, name).make_context(name, words)


def run_examples(command: str, folder: Path) -> None:
    """Run the worked examples of a command's help."""
    shown = examples(command)
    assert len(shown) >= 2
    for line in shown:
        line = re.sub(r"--budget \S+", "--budget 1s", re.sub(r"--time \S+", "--time 4s", line))
        command_line, _, stdout = re.sub("--out comparison/", "--out comparison", line).partition(" > ")
        words = shlex.split(command_line)[1:]
        if words[0] == "compare":
            words += ["--seeds", "1", "--jobs", "1", "--budget", "1s", "--families", "naive-bayes"]
        if words[0] == "evaluate":
            words = [word.replace("run3/samples.csv", "tabsyn.csv") for word in words]
        if words[0] == "fit" and "--budget" not in words:
            words += ["--budget", "1s"]
        if words[0] == "tour":
            words = [*words, "--only", "taxonomy"]  # the last word counts
        done = run(*words)
        assert done.code == 0, (line, done.err)
        if "--json" in words:
            json.loads(done.out)
        if "--out" in words:
            assert (folder / words[words.index("--out") + 1]).exists(), line
        assert not stdout or done.out, line


@pytest.fixture(scope="module")
def fitted(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the models that examples use, fitted as the examples of `genus fit` say."""
    here = tmp_path_factory.mktemp("fitted") / "files"
    shutil.copytree(folder, here)
    with contextlib.chdir(here):
        run_examples("fit", here)
    return here


@pytest.mark.nightly
@pytest.mark.usefixtures("one_core")
@pytest.mark.parametrize(
    "command",  # a server does not come to an end
    ["", *(c for c in COMMANDS if c != "serve")],
)
def test_every_example_in_the_help_works(command: str, fitted: Path, tmp_path: Path) -> None:
    here = tmp_path / "files"  # of its own, since examples of one command replace the models of another
    shutil.copytree(fitted, here)
    with contextlib.chdir(here):
        if command != "fit":  # whose examples have run
            run_examples(command, here)


def test_a_shell_completes_commands() -> None:
    asked = {"_GENUS_COMPLETE": "complete_bash", "COMP_WORDS": "genus sc", "COMP_CWORD": "1"}
    words = [sys.executable, "-m", "genus"]
    done = subprocess.run(words, env=os.environ | asked, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["score"]


def test_no_words_show_the_help_and_version_the_version() -> None:
    assert run().out.startswith("Usage: genus")
    assert run("--version").out == f"genus {genus.__version__}\n"


def test_every_command_is_there() -> None:
    assert [command.callback.__name__ for command in app.registered_commands if command.callback] == COMMANDS


# -- families -------------------------------------------------------------------------------------------------------------


def test_families_are_a_tree_with_what_each_answers() -> None:
    text = run("families").out
    tractable, rest = text.split("approximate density")
    approximate, implicit = rest.split("implicit density")
    assert "maf" in tractable
    assert "vae" in approximate
    assert "wgan-gp" in implicit
    assert "log_prob" not in implicit
    found = {one["family"]: one for one in json.loads(run("families", "--json").out)}
    assert found["vae"]["answers"] == ["elbo", "log_evidence", "sample"]
    assert found["wgan-gp"]["answers"] == ["sample"]
    assert found["maf"]["density"] == "tractable"
    assert set(found) == set(genus.families())


# -- fit ------------------------------------------------------------------------------------------------------------------


def test_fit_says_how_good_the_model_is_and_leaves_no_checkpoint(folder: Path) -> None:
    done = run("fit", "adult.csv", "--family", "vae", "--set", "hidden=8,8", "--set", "latent=3", "--steps", 40, "--out", "a.m")
    assert done.code == 0, done.err
    held_out = re.search(r"held out +(-[\d.]+) nats a row \(bound\)", done.out)
    assert held_out is not None
    assert -60 < float(held_out[1]) < -5
    assert "genus sample a.m" in done.out
    assert "capital.gain" in done.err  # the kinds that were measured
    assert not list(folder.glob("a.m.*"))
    assert genus.load("a.m").config.items() >= {"latent": 3, "hidden": [8, 8], "components": 3}.items()


def test_fit_in_json(folder: Path) -> None:
    done = run("fit", "iris", "--family", "naive-bayes", "--json", "--quiet", "--out", "nb.m")
    found = json.loads(done.out)
    assert found["label"] == "exact"
    assert found["criterion"] is None  # it counted every row
    assert found["seconds"] >= 0
    assert done.err == ""


def test_the_same_seed_gives_the_same_model(folder: Path) -> None:
    words = ("fit", "iris", "--family", "vae", "--set", "hidden=8", "--steps", 20)
    for seed, out in ((3, "s3.m"), (3, "s3b.m"), (4, "s4.m")):
        assert run(*words, "--seed", seed, "--out", out).code == 0
    weights = [torch.cat([p.flatten() for p in genus.load(name).parameters()]) for name in ("s3.m", "s3b.m", "s4.m")]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_kind_and_a_missing_marker_can_be_given(folder: Path) -> None:
    Path("zip.csv").write_text("zip,x\n" + "".join(f"{10000 + i % 7},{'nil' if i % 15 == 0 else i % 5}\n" for i in range(60)))
    words = ("fit", "zip.csv", "--family", "naive-bayes", "--out", "zip.m")
    run(*words).refused(1, "'x'", "--missing TEXT")
    done = run(*words, "--missing", "nil", "--kind", "zip=category")
    assert done.code == 0, done.err
    space = genus.load("zip.m").space
    assert isinstance(space.kinds[0], genus.Category)
    assert space.has_missing


def test_how_a_table_is_read_can_be_said(folder: Path) -> None:
    Path("house.csv").write_text("".join(f"{i % 20 or '5A'},{i % 7}\n" for i in range(60)))
    words = ("fit", "house.csv", "--family", "naive-bayes", "--out", "house.m")
    run(*words, "--header").refused(1, "'5A' holds 57 numbers but also 2 other texts", "--kind COLUMN=KIND")
    for header, rows in (("--header", 59), ("--no-header", 60)):
        first = "5A" if header == "--header" else "x0"
        done = run(*words, header, "--kind", f"{first}=category")
        assert done.code == 0, done.err
        assert f"{rows} rows" in done.err
        assert run("score", "house.m", "house.csv", header).out.count("\n") == rows + 1


def test_a_family_that_refuses_the_data_names_those_that_do_not(folder: Path) -> None:
    done = run("fit", "adult.csv", "--family", "pixelcnn", "--out", "pixels.m")
    done.refused(1, "it models images", "made, ", "mixture, naive-bayes", "vae, iwae, vq-vae, wgan, wgan-gp")
    assert not Path("pixels.m").exists()


# -- sample ---------------------------------------------------------------------------------------------------------------


def test_samples_of_a_table_come_as_csv_with_the_columns_read(models: dict[str, Path]) -> None:
    done = run("sample", models["exact"], "-n", 50, "--seed", 1)
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert list(rows[0]) == ["age", "workclass", "hours per week", "capital.gain", "income"]
    assert len(rows) == 50
    assert {row["income"] for row in rows} <= {">50K", "<=50K"}
    assert {row["workclass"] for row in rows} == {"Private", "State-gov"}  # a blank stands for an unknown value
    seen = csv.DictReader(io.StringIO(run("sample", models["exact"], "-n", 50, "--seed", 1, "--blanks").out))
    assert {row["workclass"] for row in seen} == {"Private", "State-gov", ""}
    assert '"' not in done.out
    assert all(row["age"].isdigit() for row in rows)
    assert run("sample", models["exact"], "-n", 50, "--seed", 1).out == done.out
    assert run("sample", models["exact"], "-n", 50, "--seed", 2).out != done.out


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet", "npz", "json"])
def test_every_form_of_table_can_be_read_again(suffix: str, models: dict[str, Path]) -> None:
    done = run("sample", models["exact"], "-n", 80, "--seed", 1, "--out", f"new.{suffix}")
    assert done.code == 0, done.err
    assert done.out == ""
    if suffix == "json":
        rows = json.loads(Path("new.json").read_text())
        assert len(rows) == 80
        assert isinstance(rows[0]["age"], int)
        return
    if suffix == "parquet":
        assert pq.read_table("new.parquet").schema.field("age").type == "int64"
    space = genus.load(models["exact"]).codec
    expected = space.encode(as_table(space, genus.load(models["exact"]).sample(80, seed=1)))
    assert torch.equal(genus.read(f"new.{suffix}", space=space, missing=["None"]).x, expected)


def test_a_condition_is_given_and_comes_back_as_a_column(models: dict[str, Path]) -> None:
    done = run("sample", models["conditional"], "-n", 20, "--context", "income= >50K ", "--seed", 1)
    assert done.code == 0, done.err
    assert {row["income"] for row in csv.DictReader(io.StringIO(done.out))} == {">50K"}
    Path("rich.csv").write_text(done.out)
    assert run("score", models["conditional"], "rich.csv").code == 0
    assert run("sample", models["conditional"], "-n", 20, "--seed", 1).out.startswith("age,")  # from contexts of training
    run("sample", models["conditional"], "--context", "income=rich").refused(2, "'rich'", "<=50K, >50K")
    run("sample", models["conditional"], "--context", "age=3").refused(2, "age=3", "'income'", "<=50K, >50K")
    run("sample", models["exact"], "--context", "income=>50K").refused(2, "no context")


def test_json_of_a_table_is_a_list_of_rows(models: dict[str, Path]) -> None:
    rows = json.loads(run("sample", models["exact"], "-n", 30, "--json", "--seed", 1, "--blanks").out)
    assert len(rows) == 30
    assert any(row["workclass"] is None for row in rows)
    run("sample", models["exact"], "--json", "--out", "x.csv").refused(2, "choose one")


def test_images_come_as_one_crisp_grid_or_as_an_array(models: dict[str, Path]) -> None:
    assert run("sample", models["images"], "-n", 12, "--context", "label=3", "--out", "grid.png", "--seed", 1).code == 0
    picture = np.asarray(Image.open("grid.png"))
    x = genus.load(models["images"]).sample(12, torch.tensor([[3.0]]), seed=1)
    assert picture.shape == (4 * 58 + 2, 3 * 58 + 2)  # 8 x 8 pixels, each enlarged to 7 x 7, in 3 columns
    first = picture[2:58, 2:58]
    assert (first.reshape(8, 7, 8, 7) == first[::7, ::7][:, None, :, None]).all()  # nothing is smoothed
    assert np.array_equal(first[::7, ::7], (x[0] * 255 / 16).round().byte().numpy())
    assert run("sample", models["images"], "-n", 12, "--context", "label=3", "--out", "some.npz", "--seed", 1).code == 0
    with np.load("some.npz") as file:
        assert np.array_equal(file["images"], x.byte().numpy())
        assert file["label"].tolist() == [3] * 12
    run("sample", models["images"], "--context", "label=3").refused(2, ".png, .npz or .npy")
    run("sample", models["images"], "--context", "label=3", "--out", "x.csv").refused(2, ".png, .npz, .npy")
    run("sample", models["images"], "--context", "label=10", "--out", "x.png").refused(2, "'10'", "0, 1, 2, 3")


def test_a_grid_of_coloured_images_keeps_its_colours() -> None:
    x = torch.zeros(5, 3, 2, 2)
    x[:, 0] = 255.0
    picture = image_grid(genus.Space(genus.Lattice(0, 255), shape=(3, 2, 2)), x)
    assert picture.shape[2] == 3
    assert picture[2, 2].tolist() == [255, 0, 0]
    assert picture[-1, -1].tolist() == [255, 255, 255]


def test_a_table_of_text_does_not_fit_an_array_of_numbers(models: dict[str, Path]) -> None:
    run("sample", models["exact"], "--out", "x.npy").refused(2, ".csv or .parquet")
    run("sample", models["exact"], "--out", "x.docx").refused(2, ".parquet")


# -- score ----------------------------------------------------------------------------------------------------------------


def test_scores_are_those_of_the_model_and_say_what_they_are(models: dict[str, Path]) -> None:
    done = run("score", models["exact"], "adult.csv", "--alone")
    rows = list(csv.DictReader(io.StringIO(done.out)))
    model = genus.load(models["exact"])
    expected = model.log_prob(genus.read("adult.csv", space=model.codec).x)
    assert [row["row"] for row in rows[:3]] == ["0", "1", "2"]
    assert np.allclose([float(row["log_density_exact"]) for row in rows], expected.numpy())
    mean, error = (float(number) for number in re.search(r"(-[\d.]+) ± ([\d.]+) nats a row \(exact\)", done.err).groups())
    assert abs(mean - expected.mean().item()) < 1e-4
    assert abs(error - expected.std().item() / 300**0.5) < 1e-4


def test_a_bound_is_below_its_estimate(models: dict[str, Path]) -> None:
    bound = json.loads(run("score", models["bound"], "adult.csv", "--json").out)
    estimate = json.loads(run("score", models["bound"], "adult.csv", "--json", "--samples", 32).out)
    assert (bound["label"], bound["samples"]) == ("bound", None)
    assert (estimate["label"], estimate["samples"]) == ("estimate", 32)
    assert estimate["mean"] > bound["mean"]
    model = genus.load(models["bound"])
    x = genus.read("adult.csv", space=model.codec).x
    with torch.no_grad():
        expected = torch.stack([model.elbo(x, seed=seed) for seed in range(16)]).mean(0)
    assert np.allclose(bound["log_density"], expected.numpy(), rtol=1e-5)
    assert np.allclose(estimate["log_density"], model.log_evidence(x, samples=32, seed=0).numpy(), rtol=1e-5)
    assert len(bound["log_density"]) == bound["rows"] == 300
    assert run("score", models["bound"], "adult.csv", "--samples", 2, "--alone", "--out", "s.csv", "-q").err == ""
    assert Path("s.csv").read_text().startswith("row,log_density_estimate\n")


def test_the_condition_is_found_in_the_data_by_its_name(models: dict[str, Path]) -> None:
    model = genus.load(models["conditional"])
    data = genus.read("adult.csv", space=(model.codec, model.context_codec))
    found = json.loads(run("score", models["conditional"], "adult.csv", "--json").out)
    assert np.allclose(found["log_density"], model.log_prob(data.x, data.c).numpy())
    assert json.loads(run("score", models["images"], "digits", "--json").out)["rows"] == 1797


def test_messages_name_only_options_that_the_command_has(folder: Path) -> None:
    Path("days.csv").write_text("day,v\n" + "".join(f"2023-01-{1 + i % 28:02},{i % 3}\n" for i in range(60)))
    Path("later.csv").write_text("day,v\n2031-01-01,1\n")
    words = ("fit", "days.csv", "--family", "naive-bayes", "--out", "days.m")
    assert run(*words).code == 0
    late = run("score", "days.m", "later.csv")
    assert late.code == 0
    assert "2031-01-01" in late.err
    assert "dates from 2023-01-01 to 2023-01-28" in late.err
    assert "--kind" not in late.err
    run(*words, "--kind", "w=real").refused(1, "--kind COLUMN=KIND")
    assert run("fit", "days.csv", "--family", "naive-bayes", "--context", "day", "--out", "day.m").code == 0
    run("sample", "day.m", "--context", "day=2031-01-01").refused(2, "'day' takes dates from 2023-01-01 to 2023-01-28")


def test_a_family_without_a_density_says_so(models: dict[str, Path]) -> None:
    run("score", models["none"], "adult.csv").refused(1, "wgan-gp", "no density", "maf", "mixture, naive-bayes", "vae")


@pytest.mark.nightly
def test_without_a_family_the_winner_of_a_comparison_is_saved(folder: Path, one_core: None) -> None:
    done = run("fit", "iris", "--budget", "30s", "--out", "best.m")
    assert done.code == 0
    assert "verdict" in done.out
    assert run("sample", "best.m", "-n", 5).out.count("\n") == 6


# -- compare --------------------------------------------------------------------------------------------------------------


def test_compare_prints_the_table_and_writes_the_report(folder: Path, one_core: None) -> None:
    words = ("compare", "adult.csv", "--families", "mixture,pixelcnn", "--budget", "1s", "--seeds", 1, "--jobs", 1)
    done = run(*words, "--target", "income", "--out", "rep")
    assert done.code == 0, done.err
    assert "mixture" in done.out
    assert "pixelcnn: it models images" in done.out
    assert "capital.gain" in done.err
    assert "rep/index.html" in done.err
    assert Path("rep/index.html").stat().st_size > 10_000
    assert json.loads(Path("rep/report.json").read_text())["target"] == "income"
    as_json = run(*words, "--out", "rep", "--json")
    assert {row["family"] for row in json.loads(as_json.out)["rows"]} == {"independent", "mixture", "pixelcnn"}


# -- mistakes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["fot"], "fit"),
        (["fit"], "fit --help"),
        (["fit", "iris", "--set", "hidden=8", "--out", "x.m"], "--family"),
        (["fit", "iris", "--family", "vae", "--out", "x.m", "--famly"], "--famly"),
        (["fit", "iris", "--family", "gpt9", "--out", "x.m"], "mixture"),
        (["fit", "iris", "--family", "vae", "--out", "x.m", "--budget", "soon"], "60s"),
        (["fit", "iris", "--family", "vae", "--out", "x.m", "--budget", "0"], "60s"),
        (["fit", "iris", "--family", "vae", "--out", "x.m", "--set", "depth=3"], "hidden=256,256"),
        (["fit", "iris", "--family", "vae", "--out", "x.m", "--set", "hidden"], "NAME=VALUE"),
        (["fit", "iris", "--family", "vae", "--out", "x.m", "--set", "hidden=a,b"], "whole numbers with commas"),
        (["fit", "iris", "--family", "vae", "--out", "x.m", "--set", "latent=2.5"], "a whole number"),
        (["fit", "iris", "--family", "vae", "--out", "x.m", "--kind", "species"], "COLUMN=real"),
        (["fit", "iris", "--family", "vae", "--out", "."], "folder"),
        (["compare", "iris", "--families", "maf,nope"], "nope"),
        (["compare", "iris", "--seeds", "0"], "--seeds"),
        (["sample", "x.m", "-n", "-3"], "-n"),
    ],
)
def test_a_mistake_in_the_command_is_a_sentence_and_code_2(words: list[str], expected: str, folder: Path) -> None:
    run(*words).refused(2, expected)
    assert not Path("x.m").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["fit", "irisch", "--family", "vae", "--out", "x.m"], "iris"),
        (["fit", "iris", "--family", "vae", "--out", "x.m", "--context", "colour"], "'colour'"),
        (["fit", "iris", "--family", "vae", "--out", "x.m", "--kind", "colour=real"], "'colour'"),
        (["fit", "iris", "--family", "vae", "--out", "x.m", "--learning-rate", "-1"], "learning_rate is --learning-rate"),
        (["fit", "iris", "--family", "vae", "--out", "x.m", "--device", "abacus"], "abacus"),
        (["fit", "iris", "--family", "vae", "--out", "x.m", "--device", "cuda:77"], "'cuda:77'"),
        (
            ["fit", "iris", "--family", "vae", "--out", "x.m", "--set", "hidden=-3"],
            "hidden is the width of every layer, 1 or more; got [-3]",
        ),
        (["fit", "iris", "--family", "vae", "--out", "x.m", "--resume"], "x.m.ckpt"),
        (["compare", "iris", "--target", "colour"], "'colour'"),
        (["sample", "nothing.m"], "nothing.m"),
        (["score", "nothing.m", "iris"], "nothing.m"),
    ],
)
def test_a_fault_in_data_or_model_is_a_sentence_and_code_1(words: list[str], expected: str, folder: Path) -> None:
    run(*words).refused(1, expected)
    assert not Path("x.m").exists()


def test_what_nobody_foresaw_is_a_sentence_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("division\nby zero")

    monkeypatch.setattr("genus.files.load", fail)
    done = run("sample", "a.m")
    assert done.code == 1
    assert done.err == "genus: unexpected ZeroDivisionError: division by zero; GENUS_DEBUG=1 shows where it happened.\n"
    monkeypatch.setenv("GENUS_DEBUG", "1")
    assert "Traceback" in run("sample", "a.m").err


def test_a_reader_that_leaves_early_is_no_error(models: dict[str, Path]) -> None:
    read, write = os.pipe()
    os.close(read)
    code = "import sys; from genus.cli import main; sys.exit(main(sys.argv[1:]))"
    words = [sys.executable, "-c", code, "sample", str(models["exact"]), "-n", "5"]
    done = subprocess.run(words, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


# -- words become values --------------------------------------------------------------------------------------------------


def test_shared_options_are_the_same_in_every_command() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    options = {name: {param.name: param for param in command.params} for name, command in commands.items()}
    shared = {"missing", "header", "documents", "length", "rate", "sequence", "context", "kinds", "tokens", "encoding"}
    assert shared <= options["fit"].keys() & options["compare"].keys()
    for name in shared:
        assert len({(param.help, *param.opts) for param in (options["fit"][name], options["compare"][name])}) == 1
    assert options["predict"].keys() & shared == {"missing", "header"}
    assert {"as_json", "quiet"} <= options["tour"].keys()


def test_durations() -> None:
    assert [parse_duration(text) for text in ("60s", "2m", "1h", "90", "1.5 m", ".5")] == [60, 120, 3600, 90, 90, 0.5]
    assert parse_duration(None) is None


def test_hyper_parameters_have_the_type_of_their_default() -> None:
    class Odd(genus.VAE):
        def __init__(
            self, space: genus.Space, context: genus.Space | None = None, flag: bool = False, rate: float = 0.1
        ) -> None:
            super().__init__(space, context)

    assert parse_hyperparameters(genus.VAE, ["hidden=64", "latent=8"]) == {"hidden": [64], "latent": 8}
    assert parse_hyperparameters(Odd, ["flag=yes", "rate=3"]) == {"flag": True, "rate": 3.0}


def test_a_condition_may_be_a_number_a_truth_a_date_or_missing() -> None:
    import pandas as pd

    frame = pd.DataFrame(
        {
            "x": np.arange(60) % 7,
            "a": ["u", "v", "w"] * 20,
            "a=b": [True, False, True] * 20,
            "when": pd.date_range("2024-01-01", periods=60).astype("datetime64[s]"),
            "size": [1.5, 2.0, np.nan] * 20,
            "who": ["ann", None, " bo "] * 20,
        }
    )
    data = genus.read(frame, context=["a", "a=b", "when", "size", "who"])
    assert data.context is not None
    assert data.c is not None
    first = context_values(data.context_codec, ["a=u", "a=b=True", "when=2024-01-01", "size=1.5", "who=ann"])
    assert torch.equal(first, data.c[:1])
    second = context_values(data.context_codec, ["a=v", "a=b=false", "when=2024-01-02", "size=2", "who=missing"])
    assert torch.equal(second, data.c[1:2])
    third = context_values(data.context_codec, ["a=w", "a=b=true", "when=2024-01-03", "size=missing", "who= bo"])
    assert torch.equal(third.nan_to_num(-9), data.c[2:3].nan_to_num(-9))


def test_a_loss_that_stops_being_finite_leaves_the_last_good_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0
    plain = genus.VAE._elbo

    def breaking(self: genus.VAE, x: torch.Tensor, c: torch.Tensor | None) -> torch.Tensor:
        nonlocal calls
        calls += self.training
        return plain(self, x, c) * (float("nan") if calls > 60 else 1.0)

    monkeypatch.setattr(genus.VAE, "_elbo", breaking)
    out = tmp_path / "m.genus"
    done = run("fit", "iris", "--family", "vae", "--steps", "200", "--quiet", "--out", str(out))
    assert done.code == 1
    assert "elbo" in done.err
    assert str(out) in done.err
    assert all(p.isfinite().all() for p in genus.load(out).parameters())


@pytest.mark.parametrize("kind", ["uint8", "int16", "float32", "float64"])
def test_samples_of_an_array_are_numbers_of_its_type(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", (100 * np.random.default_rng(0).random((60, 3))).astype(kind))
    assert run("fit", "x.npy", "--family", "naive-bayes", "--out", "m.genus").code == 0
    assert run("sample", "m.genus", "-n", "5", "--out", "y.npy").code == 0
    assert np.load("y.npy").dtype == np.dtype(kind)

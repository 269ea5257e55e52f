"""Whatever is wrong with data, files or folders: one sentence that says so, from Python and from the command line.

What is odd but legal (a constant column, nothing but missing values, names of all kinds) must work in every family.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import pickle
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from command import run
from conftest import SMALL
from PIL import Image
from safetensors.torch import save_file

import genus
from genus.files import FORMAT, describe, sealed
from genus.models.flow import NormalisingFlow

FAMILIES = sorted(genus.families())


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0}, raising=False)


def rows(*lines: str, times: int = 1) -> str:
    return "\n".join(lines[:1] + lines[1:] * times) + "\n"


# -- files that cannot be read --------------------------------------------------------------------------------------------

NUMBERS = [f"{i / 7:.4f},{i % 5}" for i in range(60)]
BAD = {
    "empty": (b"", ["empty"]),
    "blank": (b"\n \n\n", ["empty"]),
    "header alone": (b"a,b\n", ["header but no rows"]),
    "one row": (b"a,b\n1,2\n", ["1 row", "at least 2"]),
    "infinite": (rows("a,b", "inf,1", *NUMBERS).encode(), ["'a'", "infinite", "row 0"]),
    "minus infinite": (rows("a,b", *NUMBERS, "-inf,1").encode(), ["'a'", "infinite", "row 60"]),
    "1e300": (rows("a,b", *NUMBERS, "1e300,1").encode(), ["'a'", "1e+300", "row 60"]),
    "text among numbers": (rows("a,b", *NUMBERS, "a lot,1").encode(), ["'a'", "'a lot'", "row 60", "--missing TEXT"]),
    "ragged": (rows("a,b", "1,2", "1,2,3", times=9).encode(), ["delimiter"]),
    "UTF-16 cut short": ("a,b\n1,2\n1,2\n".encode("utf-16")[:-1], ["not text in utf-16", "--encoding"]),
    "an identifier alone": (rows("id", *(f"u-{i}" for i in range(99))).encode(), ["'id' is a key", "--kind id=category"]),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_table_is_refused_in_a_sentence(what: str) -> None:
    content, words = BAD[what]
    Path("bad.csv").write_bytes(content)
    with pytest.raises(genus.DataError) as caught:
        genus.read("bad.csv")
    for word in words:
        assert word in str(caught.value) or word.startswith("--")
    run("fit", "bad.csv", "--family", "mixture", "--out", "m.genus").refused(1, *words)
    run("compare", "bad.csv", "--budget", "1s", "--out", "report").refused(1, *words)
    assert [path.name for path in Path().iterdir()] == ["bad.csv"]  # nothing is left behind


@pytest.mark.parametrize("text", ["two\nlines", "word " * 2000, "a\0b"], ids=["lines", "long", "null"])
def test_a_text_is_no_path(text: str) -> None:
    with pytest.raises(genus.DataError, match="is no path but a text"):
        genus.read(text)


def foreign_npy(path: Path, marker: Path) -> None:
    np.save(path, np.array([Payload(marker)], dtype=object), allow_pickle=True)


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".npz", ".npy", ".csv.gz", ".xlsx"])
def test_a_file_that_is_not_what_its_name_says(suffix: str) -> None:
    Path(f"bad{suffix}").write_bytes(b"this is no such file" * 9)
    with pytest.raises(genus.DataError, match="bad"):
        genus.read(f"bad{suffix}")
    run("fit", f"bad{suffix}", "--family", "mixture", "--out", "m.genus").refused(1, f"bad{suffix}")


def test_arrays_with_a_pickle_inside_are_not_run(tmp_path: Path) -> None:
    foreign_npy(tmp_path / "bad.npy", tmp_path / "marker")
    run("fit", "bad.npy", "--family", "mixture", "--out", "m.genus").refused(1, "bad.npy")
    assert not (tmp_path / "marker").exists()


def test_a_folder_with_nothing_to_read_or_a_broken_image() -> None:
    Path("pictures").mkdir()
    run("fit", "pictures", "--family", "vae", "--out", "m.genus").refused(1, "no images", ".png")
    Path("pictures/a.png").write_bytes(b"\x89PNG and then nothing")
    run("fit", "pictures", "--family", "vae", "--out", "m.genus").refused(1, "a.png", "not an image")
    Image.new("L", (4, 4)).save("pictures/a.png")
    Image.new("L", (5, 4)).save("pictures/b.png")
    run("fit", "pictures", "--family", "vae", "--out", "m.genus").refused(1, "a.png is 4 x 4", "b.png is 5 x 4")


# -- frames and arrays that cannot be read --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: pd.DataFrame({"a": [1, "x", 2.5, None] * 5, "b": range(20)}), ["'a'", "mixes types", "'x'"]),
        (lambda: {"a": [1, "x"] * 5}, ["'a'", "mixes types"]),
        (lambda: pd.DataFrame(np.ones((9, 2)), columns=["a", "a"]), ["'a'"]),
        (lambda: np.array([[1.5, np.inf]] * 9), ["infinite", "'x1'"]),
        (lambda: torch.tensor([[1.5, -torch.inf]] * 9), ["infinite", "'x1'"]),
        (lambda: np.array([[1.5, 1e300]] * 9), ["1e+300", "'x1'"]),
        (lambda: np.zeros((0, 3)), ["0 rows"]),
        (lambda: np.zeros((1, 3)), ["1 row"]),
        (lambda: np.zeros((9, 0)), [""]),
        (lambda: pd.DataFrame(), [""]),
        (lambda: pl.DataFrame({"a": [[1, 2], [3]] * 9}), ["'a'"]),
        (lambda: np.full((9, 4, 4), np.nan), ["NaN"]),
        (lambda: np.zeros((9, 5, 5, 7)), ["channels"]),
        (lambda: {"a": [1, 2], "b": [1]}, ["lengths"]),
        (lambda: 3, ["int"]),
        (lambda: None, [""]),
    ],
)
def test_bad_frames_and_arrays(make: Callable[[], Any], words: list[str]) -> None:
    with pytest.raises(genus.DataError) as caught:
        genus.read(make())
    for word in words:
        assert word in str(caught.value)


# -- odd, but legal -------------------------------------------------------------------------------------------------------

RANDOM = np.random.default_rng(0)
UNICODE = ["größe in cm", "\U0001f600", "a=b", "x, y", 'say "so"', " padded ", "__class__", "0", "self/x", "{data}"]
ODD: dict[str, dict[str, Any]] = {
    "one column": {"a": RANDOM.normal(size=120)},
    "one constant column": {"a": [3.25] * 120},
    "a constant column": {"a": RANDOM.normal(size=120), "b": [7] * 120, "c": ["same"] * 120},
    "an empty column": {"a": RANDOM.normal(size=120), "b": [None] * 120},
    "nothing but missing values": {"a": [None] * 120},
    "missing values": {"a": np.where(RANDOM.random(120) < 0.3, np.nan, RANDOM.normal(size=120)), "b": [None, "x", "y"] * 40},
    "two different rows": {"a": [0.5, 1.5] * 60, "b": ["u", "v"] * 60},
    "large and small numbers": {"a": RANDOM.normal(size=120) * 1e20, "b": RANDOM.normal(size=120) * 1e-20},
    "one enormous number": {"a": [1e60, *RANDOM.normal(size=119)], "b": RANDOM.normal(size=120)},
    "names of all kinds": {name: RANDOM.normal(size=120) for name in UNICODE},
    "truth": {"a": [True, False, False] * 40, "b": RANDOM.normal(size=120)},
}


def fits(family: str, space: genus.Space) -> bool:
    wrapper: Any = genus.family("dequantised")
    return wrapper.refusal_of(genus.family(family), space) is None


@pytest.mark.parametrize(
    ("what", "family"),  # every family meets a third of the odd tables in the ordinary run
    [
        pytest.param(what, family, marks=() if (i + j) % 3 == 0 else pytest.mark.nightly)
        for i, what in enumerate(ODD)
        for j, family in enumerate(FAMILIES)
    ],
)
def test_odd_data_work_in_every_family(what: str, family: str) -> None:
    data = genus.read(pd.DataFrame(ODD[what]))
    if not fits(family, data.space):
        words = {"glow": "images", "markov": "sequences", "blend": "sequences", "wavenet": "in time", "pixelcnn": "images"}
        flow = issubclass(genus.family(family), NormalisingFlow)
        reason = words.get(family, "real numbers" if flow else "one value only")  # the others must take everything else
        with pytest.raises(genus.DataError, match=reason):
            genus.build(family, data.space, **SMALL[family])
        return
    model = genus.build(family, data.space, **SMALL[family])
    genus.fit(model, data, max_steps=5, seed=0, progress=False)
    frame = data.codec.decode(model.sample(20, seed=0))
    assert list(frame.columns) == list(ODD[what])
    assert [str(kind) for kind in frame.dtypes] == [str(kind) for kind in pd.DataFrame(ODD[what]).dtypes]
    if isinstance(model, genus.ApproximateDensity):
        assert model.elbo(data.x, seed=0).isfinite().all()
    genus.save(model, "m.genus")
    assert torch.equal(genus.load("m.genus").sample(5, seed=1).nan_to_num(-9), model.sample(5, seed=1).nan_to_num(-9))


@pytest.mark.parametrize("what", ODD)
def test_odd_data_work_on_the_command_line(what: str) -> None:
    pd.DataFrame(ODD[what]).to_csv("odd.csv", index=False, na_rep="NA")
    for family in ("naive-bayes", "vae"):
        words = ["fit", "odd.csv", "--family", family, "--steps", 5, "--out", "m.genus", "--quiet"]
        done = run(*words, *(["--set", "hidden=8"] if family == "vae" else []))
        assert done.code == 0, done.err
        drawn = run("sample", "m.genus", "-n", 20, "--seed", 1)
        header, *lines = csv.reader(io.StringIO(drawn.out))
        assert header == [name.strip() for name in ODD[what]]
        assert len(lines) == 20
        Path("new.csv").write_text(drawn.out)
        for source, count in (("odd.csv", 120), ("new.csv", 20)):
            scored = run("score", "m.genus", source, "--json")
            assert scored.code == 0, scored.err
            found = json.loads(scored.out)["log_density"]
            assert len(found) == count
            assert None not in found


@pytest.mark.parametrize("families", [["naive-bayes", "mixture"], pytest.param(FAMILIES, marks=pytest.mark.nightly)], ids=len)
@pytest.mark.parametrize("what", [pytest.param(w, marks=pytest.mark.nightly if i % 6 else ()) for i, w in enumerate(ODD)])
def test_odd_data_can_be_compared(what: str, families: list[str]) -> None:
    data = genus.read(pd.DataFrame(ODD[what]))
    hyper = {name: SMALL[name] for name in families}
    if not data.space.feature_dim:
        with pytest.raises(genus.DataError, match="one value only"):
            genus.compare(data, families, progress=False)
        return
    report = genus.compare(data, families, budget=0.2, seeds=1, jobs=1, hyper=hyper, progress=False)
    assert {row.family for row in report.rows} == {*families, "independent"}
    for row in report.rows:
        assert row.status == ("ok" if fits(row.family, data.space) else "refused"), row.reason
    report.write("report")


# -- other data at scoring time -------------------------------------------------------------------------------------------


@pytest.fixture
def model(tmp_path: Path) -> genus.GenerativeModel:
    """Of a number, a lattice, and a category; saved as m.genus."""
    data = genus.read({"size": RANDOM.normal(size=60), "count": [1, 2, 3] * 20, "who": ["ann", "bo"] * 30})
    made = genus.NaiveBayes(data.space)
    genus.fit(made, data, progress=False)
    genus.save(made, tmp_path / "m.genus")
    return made


OTHER = {
    "an unseen level": ("size,count,who\n0.5,1,ann\n0.1,2,zoe\n", ["'who'", "'zoe'", "row 1", "'ann', 'bo'"]),
    "a level missing": ("size,count,who\n0.5,1,ann\n0.1,2,\n", ["'who'", "missing", "row 1"]),
    "a number missing": ("size,count,who\n0.5,1,ann\n,2,bo\n", ["'size'", "missing", "row|nan"]),
    "off the lattice": ("size,count,who\n0.5,1.5,ann\n0.1,2,bo\n", ["'count'", "1.5", "row 0"]),
    "out of bounds": ("size,count,who\n0.5,9,ann\n0.1,2,bo\n", ["'count'", "9", "row 0"]),
    "text for a number": ("size,count,who\nlarge,1,ann\nsmall,2,bo\n", ["'size'", "'large'", "numbers"]),
    "infinity": ("size,count,who\ninf,1,ann\n0.1,2,bo\n", ["'size'", "inf", "row 0"]),
    "a column lacking": ("size,count\n0.5,1\n0.1,2\n", ["lack column 'who'", "size, count, who"]),
    "other columns": ("colour,taste\nred,sweet\nred,sour\n", ["'size', 'count', 'who'", "found colour, taste"]),
    "empty": ("", ["empty"]),
}


@pytest.mark.parametrize("what", OTHER)
def test_other_data_at_scoring_time(what: str, model: genus.GenerativeModel) -> None:
    content, words = OTHER[what]
    Path("other.csv").write_text(content)
    with pytest.raises(genus.DataError) as caught:
        genus.read("other.csv", space=model.codec)
    for word in words:
        assert any(choice in str(caught.value) for choice in word.split("|")), str(caught.value)
    done = run("score", "m.genus", "other.csv", "--out", "scores.csv")
    if "missing" in what:  # an exact density scores the columns that are there, and says so
        assert done.code == 0
        assert "rows that lack values (1)" in done.err
        assert Path("scores.csv").exists()
        return
    for word in words:
        assert any(choice in done.err for choice in word.split("|")), done.err
    if what in ("off the lattice", "out of bounds", "an unseen level"):  # the others are scored
        assert done.code == 0
        assert sorted("-inf" in line.split(",") for line in Path("scores.csv").read_text().splitlines()[1:]) == [False, True]
        return
    done.refused(1)
    assert not Path("scores.csv").exists()


def test_more_columns_and_another_order_are_no_harm(model: genus.GenerativeModel) -> None:
    Path("more.csv").write_text("who,note,count,size\nann,hello,1,0.5\nbo,you,3,0.25\n")
    Path("same.csv").write_text("size,count,who\n0.5,1,ann\n0.25,3,bo\n")
    more, same = (run("score", "m.genus", f"{name}.csv", "--alone").out for name in ("more", "same"))
    assert more == same != ""


def test_images_of_another_shape() -> None:
    assert run("fit", "digits", "--family", "naive-bayes", "--out", "digits.genus", "-q").code == 0
    Path("large").mkdir()
    for i in range(3):
        Image.new("L", (9, 9)).save(f"large/{i}.png")
    run("score", "digits.genus", "large").refused(1, "(N, 8, 8)", "(3, 9, 9)")
    with pytest.raises(genus.DataError, match=r"\(N, 8, 8\)"):
        genus.load("digits.genus").codec.encode(np.zeros((3, 9, 9)))
    with pytest.raises(genus.DataError, match=r"\(B, 8, 8\)"):
        genus.load("digits.genus").log_prob(torch.zeros(3, 9, 9))
    run("score", "digits.genus", "iris").refused(1, "(N, 8, 8)")


# -- model files ----------------------------------------------------------------------------------------------------------


class Payload:
    """Pickled, it writes a file as soon as somebody unpickles it."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def test_the_payload_is_a_real_one(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Payload(tmp_path / "marker")))
    assert (tmp_path / "marker").exists()


def refuse_model(*words: str) -> None:
    with pytest.raises(genus.ModelFileError) as caught:
        genus.load("bad.genus")
    for word in ("bad.genus", *words):
        assert word in str(caught.value)
    run("sample", "bad.genus").refused(1, "bad.genus", *words)
    run("score", "bad.genus", "iris").refused(1, "bad.genus", *words)


@pytest.mark.parametrize("how", ["pickle", "torch.save", "pickle in a header"])
def test_a_pickle_in_place_of_a_model_is_not_run(how: str, tmp_path: Path, model: genus.GenerativeModel) -> None:
    payload = Payload(tmp_path / "marker")
    if how == "pickle":
        Path("bad.genus").write_bytes(pickle.dumps(payload))
    elif how == "torch.save":
        torch.save({"weights": payload}, "bad.genus")
    else:
        text = pickle.dumps(payload, protocol=0).decode("latin1")
        tampered(model, {"family": text, "config": {"loc": text}})
    refuse_model()
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize(
    "content", [b"", b"\x00" * 7, b"\xff" * 64, b"PK\x03\x04 a zip file", b'{"json": 1}', bytes(range(256)) * 9]
)
def test_a_foreign_file(content: bytes) -> None:
    Path("bad.genus").write_bytes(content)
    refuse_model("not a complete genus file")


def test_a_file_of_somebody_else_in_the_same_format() -> None:
    save_file({"weight": torch.zeros(3)}, "bad.genus")
    refuse_model("that genus did not write")


@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_a_truncated_file(share: float, model: genus.GenerativeModel) -> None:
    whole = Path("m.genus").read_bytes()
    Path("bad.genus").write_bytes(whole[: int(share * len(whole))])
    refuse_model("not a complete genus file")


def test_a_folder_or_nothing_in_place_of_a_model() -> None:
    refuse_model("no model file")
    Path("bad.genus").mkdir()
    refuse_model("no model file")


def tampered(model: genus.GenerativeModel, changes: dict[str, Any], tensors: dict[str, torch.Tensor] | None = None) -> None:
    """bad.genus: the model's file with parts of the header changed; those of `config` and `space` one by one."""
    header = json.loads(json.dumps(describe(model) | {"format": FORMAT}))
    for key, value in changes.items():
        header[key] = header[key] | value if key in ("config", "space") and isinstance(value, dict) else value
    tensors = model.state_dict() if tensors is None else tensors
    held = {name: tensor.clone() for name, tensor in tensors.items()}
    save_file(held, "bad.genus", metadata=sealed(json.dumps(header), held))


MAF = genus.MAF(genus.Space([genus.Real(), genus.Real()]), hidden=[8], transforms=2)
MIXED = genus.Space([genus.Real(), genus.Category(("a", "b"))])
MIXTURE = genus.Mixture(MIXED, components=3)
MIXTURE.learn((torch.stack([torch.randn(50), torch.arange(50.0) % 2], dim=1), None), None, lambda: math.inf, seed=0)
VAE = genus.VAE(MIXED, hidden=[8], latent=2)


@pytest.mark.parametrize(
    ("model", "changes"),
    [
        (MAF, {"family": "os.system"}),
        (MAF, {"family": ["maf"]}),
        (MAF, {"family": None}),
        (MAF, {"family": "vae"}),
        (MAF, {"format": 99}),
        (MAF, {"format": 1}),
        (MAF, {"format": "1"}),
        (MAF, {"config": []}),
        (MAF, {"config": {"evil": 1}}),
        (MAF, {"config": {"hidden": [16]}}),
        (MAF, {"config": {"hidden": "8"}}),
        (MAF, {"config": {"hidden": [-1]}}),
        (MIXTURE, {"config": {"components": 0}}),
        (MAF, {"space": {"shape": [-2]}}),
        (MAF, {"space": {"kinds": []}}),
        (MAF, {"space": {"kinds": [{"kind": "os"}]}}),
        (MAF, {"space": {"kinds": [{"kind": "real", "scale": 0.0}]}}),
        (MAF, {"space": {"kinds": [{"kind": "real", "loc": "x"}]}}),
        (MAF, {"space": {"kinds": [{"kind": "lattice", "low": 0, "high": 1e308}]}}),
        (MIXTURE, {"space": {"kinds": [{"kind": "real"}, {"kind": "category", "levels": 5}]}}),
        (MIXTURE, {"space": {"kinds": [{"kind": "real"}, {"kind": "category", "levels": [["a"], ["b"]]}]}}),
        (MAF, {"codec": 3}),
        (MAF, {"space": []}),
        (MAF, {"context": 3}),
    ],
    ids=lambda value: value.name if isinstance(value, genus.GenerativeModel) else str(value)[:60],
)
def test_a_tampered_header(model: genus.GenerativeModel, changes: dict[str, Any]) -> None:
    tampered(model, {})
    assert torch.equal(genus.load("bad.genus").sample(3, seed=0), model.sample(3, seed=0))
    tampered(model, changes)
    refuse_model()


@pytest.mark.nightly  # tests/test_reliability.py has some every time
@pytest.mark.parametrize(
    ("model", "changes"),
    [
        (MAF, {"config": {"hidden": [30_000, 30_000]}}),  # 3.6 GB, if it were made
        (MAF, {"config": {"hidden": [10**12]}}),
        (MAF, {"config": {"transforms": 10**6}}),  # an hour, if they were made
        (MAF, {"config": {"transforms": 10**12}}),
        (MIXTURE, {"config": {"components": 10**9}}),
        (VAE, {"config": {"hidden": [8] * 100_000}}),
        (VAE, {"config": {"latent": 10**9}}),
        (MAF, {"space": {"shape": [10**9], "names": None, "kinds": [{"kind": "real"}]}}),
    ],
    ids=lambda value: value.name if isinstance(value, genus.GenerativeModel) else str(value)[:60],
)
def test_a_header_that_asks_for_the_moon_gets_no_memory(model: genus.GenerativeModel, changes: dict[str, Any]) -> None:
    tampered(model, changes)
    refuse_model("it asks for")


@pytest.mark.parametrize("text", ["", "{", "[]", "[1, 2]", "3", "null", '"text"', "[" * 100_000, "{}", '{"format": 1}', "\x00"])
def test_a_header_that_is_no_json_or_another(text: str) -> None:
    save_file(VAE.state_dict(), "bad.genus", metadata={"genus": text})
    refuse_model()


def test_tensors_of_other_shapes_or_lacking() -> None:
    weights = VAE.state_dict()
    tampered(VAE, {}, {})
    refuse_model()
    tampered(VAE, {}, {name: torch.zeros(3) for name in weights})
    refuse_model()
    tampered(VAE, {}, weights | {"another": torch.zeros(3)})
    refuse_model()


# -- folders that cannot be written ---------------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_written_is_found_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("file").write_text("not a folder")  # whoever runs the tests: nobody can write below a file
    reads: list[str] = []
    monkeypatch.setattr("genus.data.read", lambda *a, **k: reads.append("read"))
    run("fit", "iris", "--family", "mixture", "--out", "file/m.genus").refused(1, "file is a file and not a folder")
    run("compare", "iris", "--out", "file/report").refused(1, "file is a file and not a folder")
    assert not reads


def test_a_folder_that_cannot_be_written_from_python(model: genus.GenerativeModel) -> None:
    Path("file").write_text("not a folder")
    with pytest.raises(genus.ModelFileError, match=r"file/m.genus.*Choose a folder"):
        genus.save(model, "file/m.genus")
    report = genus.Report("toy", genus.Space([genus.Real()]), [])
    with pytest.raises(genus.GenusError, match=r"file/report.*Choose a folder"):
        report.write("file/report")
    run("sample", "m.genus", "--out", "file/new.csv").refused(1, "file is a file and not a folder")
    Path("new.csv").write_text("size,count,who\n0.5,1,ann\n")
    run("score", "m.genus", "new.csv", "--out", "file/scores.csv").refused(1, "file is a file and not a folder")
    assert Path("file").read_text() == "not a folder"


# -- Ctrl-C ---------------------------------------------------------------------------------------------------------------

PRESS = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from genus.training.gradients import GradientTrainer
lower = GradientTrainer.optimizer_step

def lower_and_press(self, *args):
    lower(self, *args)
    if self.step == 20:
        os.kill(os.getpid(), getattr(signal, os.environ.get("PRESS", "SIGINT")))

GradientTrainer.optimizer_step = lower_and_press
from genus.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(("press", "family"), [("SIGINT", "vae"), ("SIGTERM", "maf")])  # a flow on lattices, with noise
def test_ctrl_c_keeps_the_training_and_says_how_to_go_on(press: str, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRESS", press)
    words = ["fit", "iris", "--family", family, "--set", "hidden=8", "--steps", "60", "--seed", "3"]
    assert run(*words, "--out", "straight.genus").code == 0
    words += ["--out", "my model.genus"]
    done = subprocess.run([sys.executable, "-c", PRESS, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 130, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    kept = Path("my model.genus.ckpt")
    assert kept.exists()
    assert not genus.load("my model.genus").untrained  # the best so far is a model like any other
    sentence = done.stderr.splitlines()[-1]
    assert sentence.startswith("genus: training was interrupted; its best model so far is in my model.genus; ")
    assert f"what it has learned is kept in {kept}; to go on: " in sentence
    command = shlex.split(sentence.split("to go on: ")[1])
    assert command == ["genus", *words, "--resume"]

    run(*words).refused(1, "my model.genus.ckpt", "--resume")  # what was learned is not overwritten
    assert kept.exists()
    resumed = run(*command[1:])
    assert resumed.code == 0, resumed.err
    assert not kept.exists()
    straight, interrupted = genus.load("straight.genus").state_dict(), genus.load("my model.genus").state_dict()
    assert all(torch.equal(straight[name], interrupted[name]) for name in straight)


def test_a_training_cannot_be_resumed_with_other_data_or_settings() -> None:
    words = ["fit", "iris", "--family", "vae", "--set", "hidden=8", "--steps", "60", "--out", "m.genus"]
    subprocess.run([sys.executable, "-c", PRESS, *words], capture_output=True, check=False)
    before = Path("m.genus.ckpt").read_bytes()
    run(*words, "--resume", "--seed", "9").refused(1, "seed was 0 and is now 9")
    run("fit", "wine", *words[2:], "--resume").refused(1, "space")
    assert Path("m.genus.ckpt").read_bytes() == before


def test_ctrl_c_elsewhere_is_one_word(monkeypatch: pytest.MonkeyPatch, model: genus.GenerativeModel) -> None:
    def press(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(genus.NaiveBayes, "_sample", press)
    done = run("sample", "m.genus", "--out", "new.csv")
    assert (done.code, done.err) == (130, "genus: interrupted.\n")
    assert not Path("new.csv").exists()

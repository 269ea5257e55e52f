"""Keys and personal text: no density, new keys of the same pattern, and every column that is left out is named."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import importlib
import json
import pickle
import pkgutil
import random
import re
import string
import subprocess
import sys
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command import run
from conftest import SHARED
from scipy.stats import chisquare

import genus
from genus import Category, DataError, Lattice, ModelFileError, read
from genus.codec.keys import Key
from genus.codec.notes import Note
from genus.codec.patterns import measure_key
from genus.codec.permutation import permute
from genus.codec.rewrites import Rewrite, rewrite_from_json
from genus.data.personal import looks_personal
from genus.files import read_tensors, write_tensors

RNG, WORDS = np.random.default_rng(0), random.Random(0)
CASE = SHARED.parent / "cases" / "primary-key" / "keys.csv"


def texts(n: int, one: Callable[[], str]) -> list[str]:
    """n different texts."""
    found: set[str] = set()
    while len(found) < n:
        found.add(one())
    return sorted(found)


def letters(alphabet: str, n: int) -> str:
    return "".join(WORDS.choices(alphabet, k=n))


def shuffled(numbers: Sequence[int]) -> list[int]:
    return RNG.permutation(np.array(numbers)).tolist()


KEYS: dict[str, tuple[list[Any], str]] = {
    "a run of numbers": (shuffled(range(1001, 1401)), r"\d+"),
    "numbered rows": (list(range(200)), r"\d+"),
    "padded, a run": ([f"C-{i:05}" for i in shuffled(range(1, 1401))], r"C-\d{5}"),
    "padded, with holes": ([f"C-{i:05}" for i in RNG.choice(100_000, 2000, replace=False)], r"C-\d{5}"),
    "not padded": ([f"user{i}@shop" for i in range(1, 300)], r"user[1-9]\d*@shop"),
    "letters and digits": (
        texts(800, lambda: f"{letters('ABCDEFGHXYZ', 2)}-{letters(string.digits, 2)}-{letters(string.ascii_lowercase, 3)}"),
        r"[A-Z]{2}-\d{2}-[a-z]{3}",
    ),
    "UUIDs": (
        texts(500, lambda: str(uuid.UUID(int=WORDS.getrandbits(128), version=4))),
        r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
    ),
    "hashes": ([hashlib.md5(bytes([i, 7])).hexdigest().upper() for i in range(200)], r"[0-9A-F]{32}"),
    "a counter of many digits": ([str(10**25 + i) for i in range(60)], r"10{19}\d{6}"),
    "a counter of hexadecimal digits": ([f"507f1f77bcf86cd7{0x99439011 + i:08x}" for i in range(99)], r"507f[0-9a-f]{20}"),
    "mixed": (texts(300, lambda: letters(string.ascii_uppercase + string.digits, 9)), r"[A-Z0-9]{9}"),
}  # fmt: skip
NO_KEYS: dict[str, list[Any]] = {
    "numbers with holes": shuffled(range(0, 900, 3)),
    "reals": RNG.normal(size=100).tolist(),
    "a value twice": [*range(1, 100), 7],
    "a missing value": [*(f"C-{i:03}" for i in range(100)), None],
    "few rows": list(range(49)),
    "words": texts(100, lambda: letters(string.ascii_lowercase, 5)),
    "several lengths": texts(100, lambda: letters(string.ascii_letters, WORDS.randrange(3, 9)) + "1"),
    "below zero": list(range(-50, 50)),
}


@pytest.mark.parametrize("what", KEYS)
def test_keys_are_new_and_differ_and_look_alike(what: str) -> None:
    values, pattern = KEYS[what]
    key = measure_key("id", pa.chunked_array([values]))
    assert key is not None
    drawn = key.draw(10_000, seed=5).tolist()
    assert len({*drawn}) == 10_000
    assert not {*drawn} & {*values}
    assert all(re.fullmatch(pattern, str(one)) for one in drawn)
    assert [*key.draw(700, 5), *key.draw(9_300, 5, start=700)] == drawn  # a stream is the same draw, in pieces
    assert sorted(key.draw(100, seed=6)) != sorted(drawn[:100])
    assert rewrite_from_json(json.loads(json.dumps(key.to_json()))) == key
    kept = json.dumps(key.to_json())
    assert isinstance(values[0], int) or not any(value in kept for value in values)  # no key of the data is in the file


@pytest.mark.parametrize("what", NO_KEYS)
def test_other_columns_are_no_keys(what: str) -> None:
    assert measure_key("id", pa.chunked_array([NO_KEYS[what]])) is None


def test_letters_of_keys_are_even() -> None:
    key = measure_key("id", pa.chunked_array([KEYS["letters and digits"][0]]))
    assert key is not None
    columns = np.array([list(text) for text in key.draw(20_000, seed=0).tolist()])
    for place, alphabet in enumerate(key.alphabets):
        if len(alphabet) > 1:
            counts = [int((columns[:, place] == letter).sum()) for letter in alphabet]
            assert chisquare(counts).pvalue > 1e-4, place


@pytest.mark.parametrize("size", [1, 2, 3, 10, 255, 256, 257, 3001])
def test_permutations(size: int) -> None:
    orders = [permute(np.arange(size), size, (seed,)) for seed in range(3)]
    assert all(sorted(order) == list(range(size)) for order in orders)
    assert size < 10 or not np.array_equal(orders[0], orders[1])


def test_every_number_is_as_likely_in_every_place() -> None:
    firsts = np.concatenate([permute(np.array([0, 4]), 7, (seed,)) for seed in range(1000)]).reshape(-1, 2)
    assert all(chisquare(np.bincount(firsts[:, i], minlength=7)).pvalue > 1e-4 for i in range(2))


def test_a_pattern_that_is_used_up_is_said() -> None:
    key = measure_key("id", pa.chunked_array([[f"Q{i:02}" for i in range(60)]]))
    assert key is not None
    assert sorted(key.draw(40)) == [f"Q{i}" for i in range(60, 100)]
    with pytest.raises(DataError, match=r"'id' has room for 40 keys .* 41 are needed.*kinds={'id': 'omit'}"):
        key.draw(1, start=40)
    small = measure_key("id", pa.chunked_array([pa.array(range(100), pa.int8())]))
    assert small is not None
    assert sorted(small.draw(small.room)) == list(range(100, 128))


@pytest.mark.parametrize(
    "change",
    [
        {"unused": ((5, 3, 1),)},
        {"unused": ((-1, 3, 1),)},
        {"unused": ((0, 2**63, 1),)},
        {"unused": (("a", 3, 1),)},
        {"alphabets": ("aa",)},
        {"alphabets": ("01",), "unused": ((0, 5, 1),)},
        {"width": 99},
        {"dtype": "nonsense"},
        {"column": 7},
    ],
)
def test_a_file_that_was_tampered_with_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    key = Key("id", "string", ((101, 1000, 1),), prefix="C-", width=3)
    with pytest.raises((DataError, ValueError)):
        dataclasses.replace(key, **change)
    data = read({"id": [f"C-{i:03}" for i in range(100)], "v": RNG.normal(size=100)})
    model = genus.build("naive-bayes", data.space)
    genus.fit(model, data, progress=False)
    genus.save(model, tmp_path / "m.genus")
    tensors, header = read_tensors(tmp_path / "m.genus")
    header["codec"]["rewrites"][0] |= change
    write_tensors(tmp_path / "m.genus", tensors, header)
    with pytest.raises(ModelFileError, match=r"m\.genus"):
        genus.load(tmp_path / "m.genus")


def test_files_find_every_rewrite() -> None:
    """Also in a process that reads no data, such as that of `genus sample`."""
    code = "import genus.codec; from genus.codec.rewrites import _rewrites; print(*sorted(_rewrites))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = [importlib.import_module(f"genus.{room}.{m.name}") for room in ("codec", "data")
               for m in pkgutil.iter_modules(importlib.import_module(f"genus.{room}").__path__)]  # fmt: skip
    defined = {c.name for module in modules for c in vars(module).values()
               if isinstance(c, type) and issubclass(c, Rewrite) and c is not Rewrite}  # fmt: skip
    assert {*done.stdout.split()} == defined


# -- data with keys -----------------------------------------------------------------------------------------------------------


def table(rows: int = 200) -> dict[str, Any]:
    """Rows with a key, a category that repeats e-mail addresses, free text, phone numbers, and a number."""
    return {
        "order": [f"C-{i:05}" for i in shuffled(range(1, rows + 1))],
        "email": [f"anna{i % 40}x@example.org" for i in range(rows)],
        "comment": [letters(string.ascii_letters + " ", 30 + i % 9) for i in range(rows)],
        "mobile": [f"+49 170 {1_000_000 + 37 * i}" for i in range(rows)],
        "v": RNG.normal(size=rows),
    }


@pytest.mark.filterwarnings("ignore:Left out", "ignore:column 'email'")
def test_frames_keep_their_keys_and_samples_get_new_ones(tmp_path: Path) -> None:
    frame = pd.DataFrame(table())
    data = read(frame)
    assert data.space.names == ("email", "v")
    train, test = data.split(seed=3)
    whole = pd.concat([train.frame(), test.frame()])
    assert sorted(zip(whole["order"], whole["email"], strict=True)) == sorted(zip(frame["order"], frame["email"], strict=True))
    model = genus.build("naive-bayes", data.space)
    genus.fit(model, train, progress=False)
    genus.save(model, tmp_path / "m.genus")
    loaded = genus.load(tmp_path / "m.genus")
    x = loaded.sample(150, seed=1)
    drawn = loaded.decode(x, seed=1)
    assert list(drawn.columns) == ["order", "email", "v"]
    assert drawn["order"].is_unique
    assert not {*drawn["order"]} & {*frame["order"]}
    assert drawn["order"].tolist() == loaded.codec.decode(x, 1)["order"].tolist()
    pieces = [loaded.codec.decode(part, 1, start) for part, start in zip(x.split(60), (0, 60, 120), strict=True)]
    assert pd.concat(pieces, ignore_index=True).equals(drawn)
    assert loaded.decode(x)["order"].tolist() != loaded.decode(x)["order"].tolist()  # without a seed, others each time
    assert [note.column for note in loaded.codec.notes] == ["email", "comment", "mobile"]
    again = read(frame.drop(columns="order"), space=loaded.codec)  # keys are not needed to score
    assert loaded.log_prob(again.x).shape == (200,)


@pytest.mark.parametrize("dtype", ["category", "string", "object", "arrow", "Categorical"])
def test_keys_come_back_in_their_type(dtype: str) -> None:
    columns: dict[str, Any] = {"id": [f"C-{i:04}" for i in range(90)], "v": RNG.normal(size=90)}
    if dtype == "arrow":
        source: Any = pa.table(columns)
    elif dtype == "Categorical":
        source = pl.DataFrame(columns).with_columns(pl.col("id").cast(pl.Categorical))
    else:
        source = pd.DataFrame(columns).astype({"id": dtype})
    data = read(source)
    assert data.space.names == ("v",)
    drawn, back = data.decode(data.x[:1].expand(500, -1), seed=0), data.frame()
    assert not {*np.asarray(drawn["id"])} & {*columns["id"]}
    assert np.asarray(back["id"]).tolist() == columns["id"]
    if dtype != "arrow":
        assert len({str(next(iter(frame.dtypes))).split("(")[0] for frame in (source, drawn, back)}) == 1


@pytest.mark.skipif(not CASE.exists(), reason="the shared cases are not here")
def test_the_case_of_a_primary_key() -> None:
    data = read(CASE)
    assert any("'id' is a key" in note for note in data.notes)
    real = {*data.frame()["id"].to_pylist()}
    drawn = data.decode(data.x[:1].expand(10_000, -1), seed=0)["id"].to_pylist()
    assert len({*drawn}) == 10_000
    assert not {*drawn} & real
    assert min(drawn) > 1400
    for kind in ("category", "lattice", "real"):
        assert read(CASE, kinds={"id": kind}).space.names == ("id", "v")
    assert read(CASE, kinds={"id": "omit"}).decode(data.x[:2]).column_names == ["v"]


def test_kinds_declare_keys() -> None:
    columns = {
        "id": RNG.choice(10**8, 60, replace=False) + 10**8,
        "tag": texts(60, lambda: letters("abcdef", 4)),
        "v": [1, 2] * 30,
    }
    with pytest.warns(UserWarning, match="'tag' looks like an identifier"):
        data = read(columns)
    assert isinstance(data.space.kinds[0], Lattice)
    assert any("'id' has another whole number in every row" in note and "kinds={'id': 'key'}" in note for note in data.notes)
    keyed = read(columns, kinds={"id": "key", "tag": "key"})
    assert keyed.space.names == ("v",)
    drawn = keyed.decode(keyed.x, seed=0)
    assert [len(str(one)) for one in drawn["id"]] == [9] * 60
    assert all(re.fullmatch("[a-z]{4}", one) for one in drawn["tag"])
    for bad, reason in (([1, 1, 2], "'a' cannot be a key: 1 stands in 2 rows"), ([1.5, 2.5, 3.5], "not whole")):
        with pytest.raises(DataError, match=reason):
            read({"a": bad, "b": [1, 2, 1]}, kinds={"a": "key"})
    with pytest.raises(DataError, match="1 of its 3 values are missing"):
        read({"a": ["x1", None, "x2"], "b": [1, 2, 1]}, kinds={"a": "key"})


def test_a_year_of_each_row_is_an_amount() -> None:
    years = {"year": list(range(1950, 2020)), "rain": RNG.normal(size=70)}
    assert isinstance(read(years).space.kinds[0], Lattice)
    assert read(years, kinds={"year": "key"}).space.names == ("rain",)


def test_a_key_is_neither_context_nor_target() -> None:
    columns = {"id": list(range(100)), "v": RNG.normal(size=100)}
    for arguments, words in (({"context": "id"}, "The context cannot be used"), ({"target": "id"}, "cannot be the target")):
        with pytest.raises(DataError, match=f"{words}.*'id' is a key.*kinds={{'id': 'lattice'}}"):
            read(columns, **arguments)
    with pytest.raises(DataError, match="No column is left: column 'id' is a key"):
        read({"id": columns["id"]})


# -- personal text ------------------------------------------------------------------------------------------------------------

FIRST, LAST = ["Anna", "Ben", "Clara", "David", "Eva", "José"], ["Meyer", "O'Neil", "Smith-Jones", "van der Berg", "García"]
PEOPLE = [f"{first} {last}" for first in FIRST for last in LAST]


@pytest.mark.parametrize(
    ("name", "values", "noun"),
    [
        ("contact", ["a.b+c@example.co.uk", "d@e.org"], "e-mail addresses"),
        ("x", ["+49 170 1234567", "(650) 253-0000", "+1 212 555 0123"], "phone numbers"),
        ("Tel.", ["0673792384", "0603253358"], "phone numbers"),
        ("client_ip", ["192.168.0.1", "2001:db8::1"], "IP addresses"),
        ("page", ["https://example.org/a?b=1", "www.example.com"], "addresses of web pages"),
        ("home", ["12 Main Street", "5a Long Road, London", "Hauptstraße 7"], "addresses"),
        ("customer", PEOPLE, "names of persons"),
        ("lastName", [last + letters("abc", 5) for last in LAST * 5], "names of persons"),
        ("Name", [f"{last}, Mr. {first} (Junior)" for first in FIRST for last in LAST], "names of persons"),
        ("product_name", PEOPLE, None),
        ("city", [f"New {last}town" for last in LAST * 6], None),
        ("colour", ["red", "light green", "blue"], None),
        ("code", [f"C-{i:05}" for i in range(50)], None),
        ("day", ["2014-07-01", "13.02.2024", "7/1/2014"], None),
        ("version", ["1.2.3", "10.4.1"], None),
        ("text", ["a" * 300 + "@b.org"] * 5, None),
        ("name", ["a" * 199 + "!"] * 50, None),
        ("empty", [], None),
    ],
)
def test_what_looks_personal(name: str, values: list[str], noun: str | None) -> None:
    assert looks_personal(name, values) == noun


def test_repeated_personal_values_are_warned_of() -> None:
    with pytest.warns(UserWarning, match="'who' holds names of persons, and samples repeat those of the data"):
        data = read({"who": PEOPLE * 4, "v": [1, 2, 3] * 40})
    assert isinstance(data.space.kinds[0], Category)
    with pytest.warns(UserWarning, match=r"Left out: column 'phone' holds phone numbers"):
        assert read({"phone": RNG.integers(10**9, 10**10, 80), "v": [1, 2] * 40}).space.names == ("v",)
    assert read({"who": PEOPLE * 4, "v": [1, 2, 3] * 40}, kinds={"who": "omit"}).space.names == ("v",)


# -- notes, on every surface ------------------------------------------------------------------------------------------------


def test_a_note_speaks_both_languages() -> None:
    note = Note("column 'a b' is left out", "keep it with {}", {"kinds": {"a b": "category"}}, "a b", "left out")
    assert note == "column 'a b' is left out; keep it with kinds={'a b': 'category'}"
    assert note.shell == "column 'a b' is left out; keep it with --kind 'a b=category'"
    assert Note("x", "{} y", {"header": False}).shell == "x; --no-header y"
    assert Note("x", "{} y", {"missing": ["-", "none"]}).shell == "x; --missing - --missing none y"
    for same in (pickle.loads(pickle.dumps(note)), copy.deepcopy(note), Note.from_json(json.loads(json.dumps(note.to_json())))):
        assert (same, same.shell, same.column, same.about) == (note, note.shell, "a b", "left out")
    for bad in (7, {"reason": 3}, {"reason": "x", "about": "nonsense"}, {"reason": "x", "option": 3}):
        with pytest.raises(DataError, match="A note cannot be made"):
            Note.from_json(bad)


def test_what_samples_lack_is_said_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pd.DataFrame(table(150)).to_csv("t.csv", index=False)
    said = (
        "key  column 'order' is a key, and samples have new ones like C-#####",
        "warning  column 'email' holds e-mail addresses, and samples repeat those of the data; --kind email=omit leaves it out",
        "left out  column 'comment' looks like an identifier or free text (150 different values in 150 rows); keep it with"
        " --kind comment=category",
        "left out  column 'mobile' holds phone numbers (150 different in 150 rows), which samples would repeat;"
        " --kind mobile=key draws new ones of the same pattern",
    )
    fitted = run("fit", "t.csv", "--family", "naive-bayes", "--out", "m.genus")
    sampled = run("sample", "m.genus", "-n", "3", "--seed", "1", "--json")
    assert all(words in fitted.err and words in sampled.err for words in said)
    assert "--kind order=category" in fitted.err
    assert sampled.out == run("sample", "m.genus", "-n", "3", "--seed", "1", "--json", "--quiet").out
    assert {*json.loads(sampled.out)[0]} == {"order", "email", "v"}
    run("sample", "m.genus", "-n", "3", "--out", "s.parquet")
    assert json.loads(pq.read_schema("s.parquet").metadata[b"genus.notes"]) == list(said)
    filled = run("impute", "m.genus", "t.csv", "--json")
    assert [row["order"] for row in json.loads(filled.out)] == pd.read_csv("t.csv")["order"].tolist()
    assert "comment" in filled.err
    run("sample", "m.genus", "-n", "100000").refused(1, "'order' has room for 99,850 keys", "--kind order=omit")
    run("fit", "t.csv", "--family", "naive-bayes", "--out", "n.genus", "--kind", "order=keys").refused(2, "=key, =omit")
    run("fit", "t.csv", "--family", "naive-bayes", "--out", "n.genus", "--kind", "email=key").refused(1, "stands in 4 rows")
    run("fit", "t.csv", "--family", "naive-bayes", "--out", "n.genus", "--context", "order").refused(
        1, "The context cannot be used: column 'order' is a key", "--kind order=category"
    )


def test_a_report_names_what_is_left_out(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Left out"), pytest.warns(UserWarning, match="samples repeat"):
        data = read(table(120))
    report = genus.compare(data, ["naive-bayes"], budget=5, seeds=1, jobs=1, progress=False)
    page = report.write(tmp_path).read_text(encoding="utf-8")
    notes = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["notes"]
    assert [(note["about"], note["column"]) for note in notes if note["about"]] == [
        ("key", "order"), ("personal", "email"), ("left out", "comment"), ("left out", "mobile")
    ]  # fmt: skip
    assert "keep it with --kind comment=category" in notes[2]["shell"]
    assert "kinds={'comment': 'category'}" in notes[2]["python"]
    assert "<b>left out</b> column &#39;comment&#39; looks like" in page
    assert "<code>--kind comment=category</code> (in Python <code>kinds={&#39;comment&#39;: &#39;category&#39;}</code>)" in page
    assert "warning: column 'email' holds e-mail addresses" in str(report)
    assert type(report).from_json(report.to_json()).notes == report.notes

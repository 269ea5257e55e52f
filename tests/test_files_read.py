"""What files and frames come as: each is read by the library made for it, or refused in a sentence; nothing changes unsaid."""

from __future__ import annotations

import bz2
import datetime
import gzip
import io
import json
import re
import sys
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
import scipy.sparse
import torch
from command import run

import genus
from genus import Category, DataError, Lattice, read
from genus.data.cells import ALWAYS
from genus.data.headers import is_number

CASES = Path(__file__).resolve().parents[2] / "shared" / "cases"
RNG = np.random.default_rng(0)
ROWS = [{"n": i % 7, "v": round(0.37 * i - 3, 2), "who": "abc"[i % 3]} for i in range(60)]
TABLE = pa.Table.from_pylist(ROWS)


def case(name: str) -> Path:
    path = CASES / name
    if not path.exists():
        pytest.skip("small inputs are not beside this checkout (../shared/cases)")
    return path


def written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def lines(table: pa.Table = TABLE, delimiter: str = ",") -> str:
    names = delimiter.join(table.column_names)
    return "\n".join([names, *(delimiter.join(map(str, row.values())) for row in table.to_pylist())]) + "\n"


# -- files ----------------------------------------------------------------------------------------------------------------


def test_files_of_every_type_hold_the_same_table(tmp_path: Path) -> None:
    text, records = lines(), json.dumps(ROWS)
    files: dict[str, bytes] = {
        "a.csv": text.encode(),
        "b.csv.bz2": bz2.compress(text.encode()),
        "c.tsv.gz": gzip.compress(lines(delimiter="\t").encode()),
        "d.data": lines(delimiter="   ").encode(),
        "e.json": records.encode(),
        "f.jsonl": "\n".join(map(json.dumps, ROWS)).encode(),
        "g.jsonl.gz": gzip.compress("\n".join(map(json.dumps, ROWS)).encode()),
        "h.json": json.dumps({name: TABLE.column(name).to_pylist() for name in TABLE.column_names}).encode(),
        "i.json": json.dumps({"count": 60, "data": ROWS}).encode(),
        "j.csv": text.encode("utf-16"),
        "k.csv": text.encode("utf-16-be"),
        "l.csv": text.encode("utf-8-sig"),
        "m.json": records.encode("utf-16"),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    for name in ("n.zip", "o.csv.zip"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("__MACOSX/._a.csv", "x")
            archive.writestr("a.csv", text)
    for path in sorted(tmp_path.iterdir()):
        data = read(path)
        assert data.frame().equals(TABLE), path.name
        assert data.name == path.name.split(".")[0]
        assert not data.notes, data.notes


@pytest.mark.parametrize("orient", ["split", "records", "columns", "index", "table"])
def test_json_of_pandas(orient: Any) -> None:
    frame = TABLE.to_pandas()
    found = read(io.BytesIO(frame.to_json(orient=orient).encode())).frame()
    assert found.select(["n", "v", "who"]).equals(TABLE)


def test_bytes_without_a_name_say_what_they_are() -> None:
    parquet = io.BytesIO()
    pa.parquet.write_table(TABLE, parquet)
    arrow = io.BytesIO()
    with pa.ipc.new_stream(arrow, TABLE.schema) as writer:
        writer.write_table(TABLE)
    for content in (
        lines().encode(),
        json.dumps(ROWS).encode(),
        parquet.getvalue(),
        arrow.getvalue(),
        gzip.compress(lines().encode()),
    ):
        assert read(io.BytesIO(content)).frame().equals(TABLE)
    with pytest.raises(DataError, match="is empty"):
        read(io.BytesIO(b" \n"))


def test_stdin_is_a_dash_at_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def put() -> None:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(lines().encode()), isatty=lambda: False))

    put()
    fitted = run("fit", "-", "--family", "naive-bayes", "--out", "m.genus")
    assert (fitted.code, "stdin: 60 rows" in fitted.err) == (0, True), fitted.err
    put()
    assert run("score", "m.genus", "-").out.count("\n") == 61
    put()
    assert run("impute", "m.genus", "-", "--quiet").out.splitlines()[0] == "n,v,who"
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(), isatty=lambda: True))
    run("fit", "-", "--family", "naive-bayes", "--out", "m.genus").refused(2, "stdin")


def test_folders_of_parquet_are_one_table(tmp_path: Path) -> None:
    for who in "abc":
        part = TABLE.filter(pa.compute.equal(TABLE.column("who"), who)).drop_columns("who")
        (tmp_path / "t" / f"who={who}").mkdir(parents=True)
        pa.parquet.write_table(part, tmp_path / "t" / f"who={who}" / "part-0.parquet")
    (tmp_path / "t" / "_SUCCESS").write_text("")
    data = read(tmp_path / "t")
    assert (len(data), data.space.names) == (60, ("n", "v", "who"))
    assert data.space.kinds[2] == Category(("a", "b", "c"))
    written(tmp_path / "t.csv", lines())
    (tmp_path / "csv").mkdir()
    written(tmp_path / "csv" / "one.csv", lines())
    with pytest.raises(DataError, match=r"pass one of its files, one\.csv say"):
        read(tmp_path / "csv")


SHEET = (
    '<?xml version="1.0"?><worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>{}'
    "</sheetData></worksheet>"
)


def workbook(path: Path, *sheets: list[list[Any]]) -> Path:
    """Write the least that is a workbook: numbers, dates as numbers with a style, texts in place."""

    def cell(value: Any) -> str:
        if value is None:
            return "<c/>"
        if isinstance(value, datetime.date):
            return f'<c s="1"><v>{(value - datetime.date(1899, 12, 30)).days}</v></c>'
        if isinstance(value, str):
            return f'<c t="e"><v>{value}</v></c>' if value == "#N/A" else f'<c t="inlineStr"><is><t>{value}</t></is></c>'
        return f"<c><v>{value}</v></c>"

    main = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006/relationships"
    numbers = range(1, len(sheets) + 1)
    with zipfile.ZipFile(path, "w") as archive:
        root = f'<Relationship Id="r" Type="{office}/officeDocument" Target="xl/workbook.xml"/>'
        archive.writestr("_rels/.rels", f'<Relationships xmlns="{package}">{root}</Relationships>')
        listed = "".join(f'<sheet name="Sheet{i}" sheetId="{i}" r:id="r{i}"/>' for i in numbers)
        archive.writestr("xl/workbook.xml", f'<workbook {main} xmlns:r="{office}"><sheets>{listed}</sheets></workbook>')
        links = "".join(
            f'<Relationship Id="r{i}" Type="{office}/worksheet" Target="worksheets/sheet{i}.xml"/>' for i in numbers
        )
        links += f'<Relationship Id="s" Type="{office}/styles" Target="styles.xml"/>'
        archive.writestr("xl/_rels/workbook.xml.rels", f'<Relationships xmlns="{package}">{links}</Relationships>')
        archive.writestr(
            "xl/styles.xml", f'<styleSheet {main}><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs></styleSheet>'
        )
        for i, rows in zip(numbers, sheets, strict=True):
            body = "".join(f"<row>{''.join(map(cell, row))}</row>" for row in rows)
            archive.writestr(f"xl/worksheets/sheet{i}.xml", SHEET.format(body))
    return path


def test_workbooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("python_calamine")
    start = datetime.date(2021, 5, 1)
    rows = [[i % 7, 0.25 * i, "ab"[i % 2], f"0{i % 9}501", start + datetime.timedelta(i)] for i in range(40)]
    rows[3][0], rows[4][1], rows[5][2] = "#N/A", "n/a", None
    path = workbook(tmp_path / "t.xlsx", [["n", "v", "who", "zip", "day"], *rows], [["other"], [1]])
    data = read(path)
    assert "sheet 'Sheet1' is read, and 'Sheet2' is not" in data.notes[0]
    frame = data.frame()
    assert [str(kind) for kind in frame.schema.types[:4]] == ["int64", "double", "string", "string"]
    assert frame.slice(3, 3).select(["n", "v", "who", "zip"]).to_pylist() == [
        {"n": None, "v": 0.75, "who": "b", "zip": "03501"},
        {"n": 4, "v": None, "who": "a", "zip": "04501"},
        {"n": 5, "v": 1.25, "who": None, "zip": "05501"},
    ]
    assert str(frame.column("day")[39].as_py())[:10] == "2021-06-09"
    assert read(io.BytesIO(path.read_bytes())).frame().equals(frame)
    with pytest.raises(DataError, match="Column 'day' mixes types: date"):
        read(workbook(tmp_path / "mixed.xlsx", [["day"], [start], ["soon"], [start]]))
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    with pytest.raises(
        DataError, match=r"needs the package python-calamine: pip install 'genus\[excel\]', or save the sheet as CSV"
    ):
        read(path)


REFUSED = {
    "two.zip": ("a.csv b.csv", ["holds 2 files", "a.csv, b.csv", "unpack"]),
    "none.zip": ("", ["holds 0 files", "none"]),
    "t.json": ('{"a": 3, "b": [4]}', ["no table", "a list of objects"]),
    "cut.json": ('[{"a": 3}, {"a"', ["as JSON", "whole"]),
    "cut.jsonl": ('{"a": 3}\n{"a"\n', ["Line 2", "no JSON"]),
    "long.json": ('{"a": [1, 2], "b": [1]}', ["different lengths", "'b': 1"]),
    "mixed.json": ('[{"a": [1]}, {"a": 2}]', ["'a' mixes types", "int", "list"]),
    "bad.xlsx": ("PK no", ["as a workbook"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_files_that_cannot_be_read_are_refused_in_a_sentence(name: str, tmp_path: Path) -> None:
    content, words = REFUSED[name]
    if name.endswith(".zip"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for member in content.split():
                archive.writestr(member, lines())
    else:
        written(tmp_path / name, content)
    with pytest.raises(DataError) as caught:
        read(tmp_path / name)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_nested_values_are_left_out_by_name(tmp_path: Path) -> None:
    rows = [row | {"tags": [1, 2]} for row in ROWS]
    written(tmp_path / "t.jsonl", "\n".join(map(json.dumps, rows)))
    data = read(tmp_path / "t.jsonl")
    assert data.space.names == ("n", "v", "who")
    assert "column 'tags' holds list" in str(data)


# -- delimited text -------------------------------------------------------------------------------------------------------


def test_latin_and_a_late_byte_that_is_no_utf8(tmp_path: Path) -> None:
    text = "city,v\n" + "Zürich,1\nBern,2\n" * 20
    data = read(written(tmp_path / "t.csv", text, "latin-1"))
    assert data.space.kinds[0] == Category(("Bern", "Zürich"))
    assert "is read as Latin-1" in data.notes[0]
    assert "encoding='NAME' names another" in data.notes[0]
    late = "city,v\n" + "Bern,2\n" * 200_000 + "Zürich,1\n"
    assert read(written(tmp_path / "t.csv", late, "latin-1")).space.kinds[0] == Category(("Bern", "Zürich"))
    named = read(written(tmp_path / "t.csv", text.replace("ü", "ц"), "cp1251"), encoding="cp1251")
    assert (named.space.kinds[0], named.notes) == (Category(("Bern", "Zцrich")), ())


def test_blanks_between_fields(tmp_path: Path) -> None:
    text = '18.0   8   307.0\t"chevrolet chevelle"\n' + '15.0   8   350.0\t"buick  skylark"\n' * 9
    data = read(written(tmp_path / "auto.data", text))
    assert data.frame().column("x3").to_pylist()[:2] == ["chevrolet chevelle", "buick  skylark"]
    assert data.space.dim == 4
    assert read(written(tmp_path / "t.csv", "a b\n" + "1 2\n3 4\n" * 9)).space.names == ("a", "b")
    for text in ("city\n" + "New York\nLos Angeles\n" * 9, "when\n" + "2020-01-01 10:00:00\n2020-01-02 11:00:00\n" * 9):
        assert read(written(tmp_path / "t.csv", text)).space.dim == 1


@pytest.mark.parametrize("word", [*ALWAYS, "-", "--", ".", "missing", "None", " NA"])
def test_words_for_missing_leave_columns_what_they_are(word: str, tmp_path: Path) -> None:
    rows = "".join(f"{i % 5},{i / 4},2020-01-{1 + i % 28:02},{str(i % 2 == 0).lower()},x\n" for i in range(50))
    data = read(written(tmp_path / "t.csv", f"n,v,day,yes,who\n{rows}{word},{word},{word},{word},x\n"))
    assert [str(kind) for kind in data.frame().schema.types] == ["int64", "double", "date32[day]", "bool", "string"]
    assert all(column.null_count == 1 for column in data.frame().columns[:4])


def test_words_that_may_be_levels_are_said(tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", "garage,rh,soil\n" + "None,+,loam\nbrick,-,-\nwood,+,clay\n" * 9)
    data = read(path)
    garage, rh, soil = data.space.kinds
    assert garage == Category(("None", "brick", "wood"))
    assert rh == Category(("+", "-"))
    assert soil == Category(("clay", "loam", None), unknown=True)
    assert "'None', which is taken for a level; missing=['None'] takes it for missing" in str(data)
    assert "'-', which is taken for missing; kinds={'soil': 'category'} keeps it as a level" in str(data)
    assert len(data.notes) == 2
    asked = read(path, kinds={"soil": "category"}, missing=["None"])
    assert asked.space.kinds[0] == Category(("brick", "wood", None), unknown=True)
    assert asked.space.kinds[2] == Category(("-", "clay", "loam"))
    assert torch.equal(read(path, space=asked.codec, missing=["None"]).x, asked.x)
    named = read(written(tmp_path / "n.csv", "c,v\n" + "NA,1\nDE,2\n" * 9), kinds={"c": Category(("DE", "NA"))})
    assert named.frame().column("c").to_pylist()[:2] == ["NA", "DE"]


def test_text_stays_text(tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", "zip,size,code\n" + "00501,1.50,1\n94103,2.0,2\n00501,2.00,3\n" * 9)
    data = read(path)
    assert data.space.kinds[0] == Category(("00501", "94103"))
    assert data.notes == (
        "column 'zip' has leading zeros and is read as text, which keeps them; kinds={'zip': 'lattice'} takes it for numbers",
    )
    assert data.notes[0].shell.endswith("--kind zip=lattice takes it for numbers")
    assert read(path, kinds={"zip": "lattice"}).frame().column("zip")[0].as_py() == 501
    asked = read(path, kinds={"zip": "category", "size": "category", "code": "category"})
    assert asked.space.kinds == (Category(("00501", "94103")), Category(("1.50", "2.0", "2.00")), Category((1, 2, 3)))
    assert not asked.notes
    assert torch.equal(read(path, space=asked.codec).x, asked.x)
    for text in ("t,v\n01:30,1\n02:30,2\n", "v\n0.5\n00\n", "v,w\n-0.5,0\n0,1\n", '"a"\n"0"\n"1"\n'):
        assert "leading zeros" not in str(read(written(tmp_path / "o.csv", text * 1 + text.split("\n")[1] + "\n")))
    phones = read(written(tmp_path / "p.csv", "p,v\n" + "+4912345678,1\n+4912345679,2\n" * 9))
    assert phones.space.kinds[0].levels == ("+4912345678", "+4912345679")


def test_shares_and_amounts_are_numbers(tmp_path: Path) -> None:
    data = read(written(tmp_path / "t.csv", 'share,price\n45 %,"$1,200.50"\n3.5%,$8\n-,$7.25\n' + "1%,$9\n" * 9))
    assert data.frame().slice(0, 3).to_pylist() == [
        {"share": 45.0, "price": 1200.5},
        {"share": 3.5, "price": 8.0},
        {"share": None, "price": 7.25},
    ]
    assert "column 'share' has the unit %, and samples of it are the numbers alone" in data.notes
    assert "column 'price' has the unit $, and samples of it are the numbers alone" in data.notes
    grouped = read(written(tmp_path / "t.csv", 'a;b\n1.234,50;"1,234.5"\n7,25;12\n' * 1 + '8,5;"1,300"\n' * 3))
    assert grouped.frame().slice(0, 2).to_pylist() == [{"a": 1234.5, "b": 1234.5}, {"a": 7.25, "b": 12.0}]
    assert "column 'b' has marks of thousands, and samples of it have none" in grouped.notes
    half = read(written(tmp_path / "t.csv", "v\n" + "1\n2\nlow\n" * 9))
    assert half.notes == (
        "column 'v' holds 18 numbers but also 9 other texts, and is read as text; missing=['low'] takes 'low' for missing",
    )
    assert len(read(written(tmp_path / "mac.csv", "a,b\r1,2\r3,4\r"))) == 2
    with pytest.raises(DataError, match="50 numbers but also 1 other texts"):
        read(written(tmp_path / "t.csv", "v\n" + "1\n" * 50 + "5%\n"))


def test_headers_of_text_and_names_twice(tmp_path: Path) -> None:
    rows = "red,big\nblue,small\nred,small\nblue,big\n" * 3
    data = read(written(tmp_path / "t.csv", rows))
    assert (len(data), data.space.names) == (12, ("x0", "x1"))
    assert "no header was found" in data.notes[0]
    named = read(written(tmp_path / "t.csv", "colour,size\n" + rows))
    assert (len(named), named.notes) == (12, ())
    assert len(read(written(tmp_path / "t.csv", rows), header=True)) == 11
    unsure = read(written(tmp_path / "t.csv", "name\nanna\notto\nhannah\n"))
    assert "the first line, name, is taken for a header; header=False makes it a row" in str(unsure)
    dates = read(written(tmp_path / "t.csv", "2020-01-01,a\n2020-01-02,b\n2020-01-03,a\n"))
    assert len(dates) == 3
    twice = read(written(tmp_path / "t.csv", "a,b,a,a_2,a\n" + "1,2,3,4,5\n2,3,4,5,6\n" * 3))
    assert twice.space.names == ("a", "b", "a_3", "a_2", "a_4")
    assert "the name 'a' stands twice in the header, and the later column is called 'a_3'" in twice.notes


# -- frames ---------------------------------------------------------------------------------------------------------------


def test_an_index_with_a_name_or_of_times_is_a_column() -> None:
    days = pd.date_range("2020-01-01", periods=60, freq="D")
    frame = pd.DataFrame({"v": RNG.normal(size=60)}, index=days)
    data = read(frame)
    assert data.space.names == ("index", "v")
    assert str(data.frame()["index"].dtype).startswith("datetime64")
    assert read(frame.rename_axis("day")).space.names == ("day", "v")
    assert read(frame.reset_index(drop=True)).space.names == ("v",)
    named = pd.DataFrame({"v": RNG.normal(size=60)}, index=pd.Index(["a", "b"] * 30, name="who"))
    assert read(named).space.kinds[0] == Category(("a", "b"))
    assert torch.equal(read(named, space=read(named).codec).x, read(named).x)
    assert genus.sklearn.DensityEstimator("naive-bayes").fit(frame).n_features_in_ == 1


def test_columns_that_arrow_does_not_have_as_they_are() -> None:
    frame = pd.DataFrame({"v": RNG.normal(size=60).round(2)})
    frame["sparse"] = pd.arrays.SparseArray([0, 0, 3] * 20)
    frame["month"] = pd.period_range("2020-01", periods=60, freq="M")
    data = read(frame)
    assert data.space.names == ("v", "sparse", "month")
    pd.testing.assert_frame_equal(data.frame(), frame)
    large = pd.DataFrame({"k": np.array([2**63 + 5, 3, 4] * 20, dtype=np.uint64), "v": RNG.normal(size=60).round(2)})
    pd.testing.assert_frame_equal(read(large).frame(), large)
    array = np.array([[2**63 + 5, 3], [4, 5]] * 20, dtype=np.uint64)
    np.testing.assert_array_equal(read(array).frame(), array)
    wide = pl.DataFrame({"k": pl.Series([1, 2, 3] * 20, dtype=pl.Int128), "v": RNG.normal(size=60).round(2)})
    assert read(wide).frame().equals(wide)
    assert read(wide).frame().schema == wide.schema


REFUSED_COLUMNS = {
    "mixed": (
        lambda: pd.DataFrame({"k": [1, "x"] * 30}),
        ["'k' mixes types", "int (1 in row 0)", "str ('x' in row 1)", "text"],
    ),
    "mixed times": (lambda: pd.DataFrame({"k": [pd.Timestamp(0), "x"]}), ["'k' mixes types", "Timestamp", "str"]),
    "complex": (lambda: pd.DataFrame({"k": [1j, 2j]}), ["'k' holds complex", "leave the column out"]),
    "128 bits": (lambda: pl.DataFrame({"k": pl.Series([1, 2**100], dtype=pl.Int128)}), ["'k'", "more than 64 bits", "cast it"]),
    "wide sparse": (lambda: scipy.sparse.csr_matrix((10**6, 10**6)), ["sparse matrix", "too large"]),
}


@pytest.mark.parametrize("what", REFUSED_COLUMNS)
def test_columns_that_cannot_be_read_are_named(what: str) -> None:
    make, words = REFUSED_COLUMNS[what]
    with pytest.raises(DataError) as caught:
        read(make())
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_sparse_matrices_and_hugging_face_sets() -> None:
    sparse = scipy.sparse.random(60, 3, 0.5, format="csr", random_state=0)
    assert torch.equal(read(sparse).x, read(sparse.toarray()).x)
    features = {"label": SimpleNamespace(names=["no", "yes"]), "v": SimpleNamespace(dtype="float64")}
    table = pa.table({"label": [0, 1] * 30, "v": RNG.normal(size=60)})
    plain = SimpleNamespace(features=features, with_format=lambda kind: {"arrow": _Sliced(table)}[kind])
    data = read(plain)
    assert data.space.kinds[0] == Category(("no", "yes"))
    with pytest.raises(DataError, match=r"complete tables, train, test; pass one of them, such as data\['train'\]"):
        read({"train": plain, "test": plain})
    np.testing.assert_allclose(data.frame().column("v"), table.column("v"), rtol=1e-6)


class _Sliced:
    """What a data set of Hugging Face's library gives of its rows in Arrow's format."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __getitem__(self, rows: slice) -> pa.Table:
        return self.table


# -- decimals -------------------------------------------------------------------------------------------------------------


def drawn(data: genus.data.Dataset) -> tuple[genus.GenerativeModel, torch.Tensor]:
    model = genus.NaiveBayes(data.space)
    genus.fit(model, data, progress=False)
    return model, model.sample(500, seed=0)


def test_draws_have_the_decimals_of_the_data(tmp_path: Path) -> None:
    values = np.round(RNG.lognormal(3, 1, 200), 2)
    frame = pd.DataFrame(
        {"bill": values, "third": RNG.normal(size=200), "six": [float(f"{v:.6g}") for v in RNG.lognormal(0, 4, 200)]}
    )
    data = read(frame)
    assert data.codec.form.decimals == ("+.2f", "", "+.6g")
    pd.testing.assert_frame_equal(data.frame(), frame)
    model, x = drawn(data)
    draws = data.decode(x)
    assert (draws["bill"].round(2) == draws["bill"]).all()
    assert (draws["bill"] != 0).all()
    assert all(float(f"{v:.6g}") == v for v in draws["six"])
    single = read(frame[["bill"]].astype("float32"))
    assert single.codec.form.decimals == ("+.2f",)
    genus.save(model, tmp_path / "m.genus")
    assert genus.load(tmp_path / "m.genus").codec.form.decimals == data.codec.form.decimals


def test_trailing_zeros_and_zero_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    prices = [f"{v:.2f},{w:g}" for v, w in zip(RNG.gamma(2, 3, 200), np.round(RNG.normal(0, 60, 200), 1), strict=True)]
    written(tmp_path / "t.csv", "price,temp\n" + "\n".join(prices) + "\n")
    assert run("fit", "t.csv", "--family", "naive-bayes", "--out", "m.genus", "--quiet").code == 0
    rows = [line.split(",") for line in run("sample", "m.genus", "-n", 500, "--seed", 0).out.splitlines()[1:]]
    assert {len(price.partition(".")[2]) for price, _ in rows} == {2}
    assert {len(temp.partition(".")[2]) for _, temp in rows} == {0, 1}
    assert not any("e" in cell or cell == "-0" for row in rows for cell in row)


def test_an_atom_at_zero_is_zero() -> None:
    values = np.concatenate([np.zeros(300), RNG.integers(-513, 600, 3000) / 10, [-51.3]])
    kind = read({"v": values}).space.kinds[0]
    assert isinstance(kind, Lattice)
    assert 0.0 in kind.atoms


# -- the shared cases -----------------------------------------------------------------------------------------------------


def test_case_excel_na() -> None:
    data = read(case("excel-na") / "na.csv")
    assert [str(kind) for kind in data.frame().schema.types] == ["int64", "double", "date32[day]"]
    assert all(column.null_count > 0 for column in data.frame().columns)


def test_case_leading_zeros(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = case("leading-zeros") / "ids.csv"
    assert "column 'zip' has leading zeros and is read as text" in str(read(path))
    monkeypatch.chdir(tmp_path)
    assert run("fit", path, "--kind", "zip=category", "--family", "naive-bayes", "--out", "m.genus").code == 0
    drawn = run("sample", "m.genus", "-n", 200, "--seed", 0).out.splitlines()
    place = drawn[0].split(",").index("zip")
    assert {line.split(",")[place] for line in drawn[1:]} <= {"00501", "02139", "02140", "10001", "94103"}


def test_case_other_files() -> None:
    folder = case("other-files")
    hotel = read(folder / "hotel.json")
    assert read(folder / "hotel.jsonl").frame().equals(hotel.frame())
    assert hotel.frame().column_names == ["checkin", "checkout", "rate", "room", "nights", "total"]
    assert read(folder / "blanks.data").x.shape == (150, 4)
    assert read(folder / "latin1.csv").space.kinds[0] == Category(("Köln", "München", "Zürich"))


def test_case_decimals() -> None:
    data = read(case("decimals") / "bills.csv")
    draws = data.decode(drawn(data)[1])
    for name, places in (("billing", 2), ("temp", 1)):
        values = draws.column(name).to_numpy()
        np.testing.assert_array_equal(values, np.round(values, places))


def test_truth_is_written_as_it_came(tmp_path: Path) -> None:
    rows = "".join(f"{'TRUE' if i % 3 else 'FALSE'},{i % 2 == 0},{'true' if i % 5 else 'false'},{i}\n" for i in range(40))
    path = written(tmp_path / "t.csv", f"a,b,c,n\n{rows}")
    data = read(path)
    assert data.space.kinds[:3] == (Category(("FALSE", "TRUE")), Category(("False", "True")), Category((False, True)))
    frame = pd.read_csv(path)  # in which all three are booleans
    assert torch.equal(read(frame, space=data.codec).x, data.x)
    assert torch.equal(read(path, space=read(frame).codec).x, data.x)
    assert run("fit", path, "--family", "naive-bayes", "--out", tmp_path / "m.genus").code == 0
    drawn = run("sample", tmp_path / "m.genus", "-n", 30).out.splitlines()
    assert {line.split(",")[0] for line in drawn[1:]} == {"TRUE", "FALSE"}
    assert {line.split(",")[1] for line in drawn[1:]} == {"True", "False"}


def test_an_empty_field_above_the_numbers_of_rows_makes_a_header(tmp_path: Path) -> None:
    lines = "".join(f'"{i}","{"NS"[i % 2]}","clear"\n' for i in range(1, 9))
    words = written(tmp_path / "words.csv", '"","wind","sky"\n' + lines)
    assert read(words).frame().column_names[1:] == ["wind", "sky"]
    numbers = written(tmp_path / "numbers.csv", ",16.5,17.5\n" + "".join(f"{i},{i % 3},{i % 2}\n" for i in range(9)))
    assert read(numbers).frame().column_names[1:] == ["16.5", "17.5"]
    years = written(tmp_path / "years.csv", ',1940,1945\nFood,22.2,44.5\nHousehold,10.5,15.5\n"Private care",0.3,0.6\n')
    data = read(years, kinds={"x0": "category"})
    assert torch.equal(read(years, space=data.codec).x, data.x)  # whose unnamed column has the name x0
    headless = written(tmp_path / "headless.csv", ",1,2\n4,5,6\n9,2,1\n5,5,5\n")
    assert read(headless).frame().num_rows == 4


def test_times_beside_a_key_are_written_as_they_came(tmp_path: Path) -> None:
    days = [(1 + i % 28, 1 + i % 12) for i in range(200)]
    rows = "".join(
        f"A{7919 * i % 9973:05},{day:02}/{month:02}/2021,{20210100 + day},{i % 7}\n" for i, (day, month) in enumerate(days)
    )
    path = written(tmp_path / "t.csv", f"id,when,day,n\n{rows}")
    assert read(path).codec.keys == ("id",)
    assert run("fit", path, "--family", "naive-bayes", "--out", tmp_path / "m.genus").code == 0
    drawn = [line.split(",") for line in run("sample", tmp_path / "m.genus", "-n", 20).out.splitlines()[1:]]
    assert all(re.fullmatch(r"\d\d/\d\d/2021", line[1]) and re.fullmatch(r"202101\d\d", line[2]) for line in drawn), drawn


def test_a_field_of_very_many_digits_is_looked_at_once() -> None:
    start = time.process_time()
    assert not is_number("1" * 20_000 + "x")
    assert time.process_time() - start < 2  # eleven seconds where digits could be shared out in many ways


def test_an_archive_of_a_later_form_is_refused_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "t.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("t.csv", "a,b\n1,2\n")
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 6] = 148  # the version that is needed to extract
    path.write_bytes(content)
    for source in (path, io.BytesIO(bytes(content))):
        with pytest.raises(DataError, match=r"as \.zip: zip file version 14\.8"):
            read(source)

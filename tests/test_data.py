"""Reading: datasets, sources of every kind, and bad input as one clear sentence."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_diabetes

import genus
from genus import Category, DataError, Lattice, Real, read

TABLES = Path(__file__).parents[2] / "shared" / "data" / "tables"
RNG = np.random.default_rng(0)


# -- Dataset --------------------------------------------------------------------------------------------------------------


def test_condition_target_and_split() -> None:
    data = read("iris", context="species")
    assert data.target is None
    assert data.context is not None
    assert data.c is not None
    assert data.c.shape == (150, 1)
    assert data.frame().column_names[-1] == "species"
    train, valid, test = data.split(0.6, 0.2, 0.2, seed=3)
    assert [len(d) for d in (train, valid, test)] == [90, 30, 30]
    assert train.space is data.space
    together = torch.cat([d.x for d in (train, valid, test)])
    assert torch.equal(together.sort(0).values, data.x.sort(0).values)
    assert torch.equal(data.split(seed=3)[1].x, data.split(seed=3)[1].x)
    assert not torch.equal(data.split(seed=3)[1].x, data.split(seed=4)[1].x)
    assert len(data.rows(data.c[:, 0] == 1)) == 50


def test_whole_number_conditions_are_categories() -> None:
    data = read({"y": np.array([3, 4, 3, 8] * 5), "v": RNG.normal(size=20)}, context="y")
    assert data.context is not None
    assert data.context.kinds[0] == Category((3, 4, 8))


def test_known_space_encodes_new_data() -> None:
    frame = pd.DataFrame({"a": np.arange(20) % 4, "b": ["x", "y"] * 10, "c": ["u", "v"] * 10})
    data = read(frame, context="c")
    again = read(frame[["c", "b", "a"]].assign(extra=1).head(1), space=(data.codec, data.context_codec))
    assert torch.equal(again.x, data.x[:1])
    assert again.c is not None
    assert data.c is not None
    assert torch.equal(again.c, data.c[:1])
    with pytest.raises(DataError, match="lack column 'b'"):
        read(frame[["a"]], space=data.codec)
    with pytest.raises(DataError, match=r"'z' in row 1.*not there in training.*'x', 'y'"):
        read(pd.DataFrame({"a": [1, 1], "b": ["x", "z"]}), space=data.codec)
    with pytest.raises(DataError, match=r"holds 9 in row 0.*expected values in Lattice\(0, 3\)"):
        read(pd.DataFrame({"a": [9], "b": ["x"]}), space=data.codec)
    with pytest.raises(DataError, match="no missing value"):
        read(pd.DataFrame({"a": [None], "b": ["x"]}), space=data.codec)
    array = RNG.normal(size=(20, 3))
    torch.testing.assert_close(read(array[:4], space=read(array).codec).x, read(array).x[:4])


# -- files ----------------------------------------------------------------------------------------------------------------


def test_files_hold_what_frames_hold(tmp_path: Path) -> None:
    table = pa.table({"a b": [0.5, 1.25, None], "ö": ["x", "y", "x"], "n": [1, 2, 3]})
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
    pyarrow.feather.write_feather(table, tmp_path / "t.feather")
    text = "a b, ö ,n\n0.5, x,1\n1.25, y,2\n ?,x ,3\n"
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    (tmp_path / "bom.csv").write_text(text.replace(",", ";"), encoding="utf-8-sig")
    (tmp_path / "t.tsv").write_text(text.replace(",", "\t"))
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("t.parquet", "t.feather", "t.csv", "bom.csv", "t.tsv", "t.csv.gz"):
        data = read(tmp_path / name)
        assert data.frame().equals(table), name
        assert data.name == name.split(".")[0]


def test_csv_headers(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("1.5,a\n2.5,b\n3.5,a\n")
    assert read(path).space.names == ("x0", "x1")
    assert len(read(path)) == 3
    path.write_text("a,b\nx,y\nz,w\n")
    assert len(read(path)) == 2
    path.write_text("v\n1\n2\n")
    assert read(path).space.names == ("v",)


def test_headers_that_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    pd.DataFrame(RNG.normal(size=(20, 4))).to_csv(path, index=False)
    data = read(path)
    assert (len(data), data.space.names) == (20, ("0", "1", "2", "3"))
    assert "first line, 0, 1, 2, 3, is taken for a header" in str(data)
    assert len(read(path, space=data.codec)) == 20
    assert len(read(path, header=False)) == 21
    pd.DataFrame(RNG.integers(0, 50, (20, 3))).to_csv(path, index=False)
    assert read(path).space.names == ("0", "1", "2")
    for cells in ("{}.5,{}.25", "{},{}"):  # rates, and counts
        path.write_text("country,2019,2020\n" + "".join(f"{'AB'[i % 2]},{cells.format(i, 3 * i)}\n" for i in range(20)))
        data = read(path)
        assert (len(data), data.space.names) == (20, ("country", "2019", "2020"))
    path.write_text("country,2019,2020\nA,7,9\n")
    assert len(read(path, space=data.codec)) == 1  # names that are known


def test_lines_that_are_no_headers(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    for text in (
        "0,1\n1,2\n0,3\n",
        "5,a,2\n3,b,1\n4,a,1\n",
        "1,4\n2,5\n2,6\n",
        "3\n0.5\n0.2\n",
        "Zoe,34,7\nAmy,29,8\nBob,31,7\n",
    ):
        path.write_text(text)
        data = read(path)
        assert len(data) == text.count("\n"), text
        assert "no header was found, so columns are named x0" in str(data)
        named = read(path, header=True)
        assert named.space.names == tuple(text.splitlines()[0].split(",")), text
        assert not named.notes
    path.write_text("0.5,0.2\n1.5,2.5\n")
    space = read(path).space
    path.write_text("1,2\n1.5,2.5\n")
    assert len(read(path, space=space)) == 2  # as in training
    with pytest.raises(DataError, match="header= has no meaning for data, which is a table"):
        read({"a": [1, 2]}, header=False)


def test_csv_numbers_that_no_double_holds(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    numbers = [10**25 + int(k) for k in RNG.integers(0, 4, 60)]
    path.write_text("id,v,w\n" + "".join(f"{n},{i % 7},{i}e20\n" for i, n in enumerate(numbers)))
    data = read(path)
    assert data.frame()["id"].to_pylist() == list(map(str, numbers))
    assert "'id' is read as text, since its whole numbers have more than 64 bits" in str(data)
    assert pa.types.is_float64(data.frame()["w"].type)
    path.write_text("id,v\n" + "".join(f"{10**25 + i},{i % 7}\n" for i in range(60)))
    data = read(path)
    assert data.space.names == ("v",)
    assert data.frame()["id"].to_pylist() == [str(10**25 + i) for i in range(60)]  # a key, of which samples have new ones
    assert all(len(one) == 26 for one in data.decode(data.x)["id"].to_pylist())


def test_csv_decimal_commas(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a;b\n1,5;2,250\n-2;3,500\n1,5;4,750\n")
    data = read(path)
    assert data.frame().to_pydict() == {"a": [1.5, -2.0, 1.5], "b": [2.25, 3.5, 4.75]}
    assert "'a' has decimal commas" in str(data)
    path.write_text("1,5;2,5;0\n-2,25;3,5;1\n")
    assert read(path).frame().to_pydict() == {"x0": [1.5, -2.25], "x1": [2.5, 3.5], "x2": [0, 1]}
    path.write_text('a,b\n"1,500","1,5"\n"2,500","2,5"\n')
    data = read(path)
    assert data.frame().to_pydict() == {"a": ["1,500", "2,500"], "b": [1.5, 2.5]}
    assert "its commas may be decimal or mark thousands" in str(data)
    assert read(path, kinds={"a": "real"}).frame()["a"].to_pylist() == [1.5, 2.5]
    assert read(path, kinds={"b": "category"}).frame()["b"].to_pylist() == ["1,5", "2,5"]


def test_a_category_of_mostly_numbers(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("house,v\n" + "".join(f"{i % 20 or '5A'},{i % 7}\n" for i in range(200)))
    with pytest.raises(DataError, match=r"190 numbers but also 10 other texts .*kinds={'house': 'category'}"):
        read(path)
    data = read(path, kinds={"house": "category"})
    assert data.frame()["house"].to_pylist() == [str(i % 20 or "5A") for i in range(200)]
    assert torch.equal(read(path, space=data.codec).x, data.x)


def test_csv_that_changes_type_far_down(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('a,b\n1,"two\nlines"\n2,"x"\n')
    assert read(path).frame()["b"].to_pylist() == ["two\nlines", "x"]


def test_npz_and_npy(tmp_path: Path) -> None:
    images, label = RNG.integers(0, 255, (6, 5, 4)).astype(np.uint8), np.arange(6) % 2
    np.savez(tmp_path / "a.npz", x=images, y=label)
    data = read(tmp_path / "a.npz", context="label")
    assert data.x.shape == (6, 5, 4)
    assert data.space.kinds[0] == Lattice(0, 255)
    assert data.context is not None
    assert data.context.kinds[0] == Category((0, 1))
    np.testing.assert_array_equal(data.frame(), images)
    np.savez(tmp_path / "b.npz", x_train=images, y_train=label, x_test=images[:1])
    assert len(read(tmp_path / "b.npz", context="label")) == 6
    assert "x_test" in str(read(tmp_path / "b.npz"))
    np.save(tmp_path / "c.npy", images[:, 0].astype(float))
    assert read(tmp_path / "c.npy").x.shape == (6, 4)
    np.save(tmp_path / "d.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="Cannot read"):
        read(tmp_path / "d.npy")


def test_image_arrays_and_tensors() -> None:
    colour = RNG.integers(0, 256, (5, 6, 7, 3)).astype(np.uint8)
    data = read(colour)
    assert data.x.shape == (5, 3, 6, 7)
    np.testing.assert_array_equal(data.frame(), colour)
    first = torch.from_numpy(colour).permute(0, 3, 1, 2).contiguous()
    assert torch.equal(read(first).frame(), first)
    floats = colour[..., 0] / 255
    kind = read(floats).space.kinds[0]
    assert isinstance(kind, Lattice)
    assert kind.step == pytest.approx(1 / 255)
    np.testing.assert_allclose(read(floats).frame(), floats, rtol=1e-7)
    assert isinstance(read(RNG.normal(size=(5, 4, 4))).space.kinds[0], Real)
    with pytest.raises(DataError, match=r"array of shape \(N, 3, 6, 7\); got \(5, 3, 5, 7\)"):
        data.codec.encode(colour[:, :5])


def test_image_folder(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        for i in range(3):
            Image.fromarray(RNG.integers(0, 255, (4, 5)).astype(np.uint8)).save(tmp_path / label / f"{i}.png")
    data = read(tmp_path, context="label")
    assert data.x.shape == (6, 4, 5)
    assert data.context is not None
    assert data.context.kinds[0] == Category(("cat", "dog"))
    assert data.frame().dtype == np.uint8
    Image.fromarray(RNG.integers(0, 255, (4, 5, 3)).astype(np.uint8)).save(tmp_path / "dog" / "colour.png")
    assert read(tmp_path).x.shape == (7, 3, 4, 5)
    Image.fromarray(np.zeros((9, 5), dtype=np.uint8)).save(tmp_path / "dog" / "tall.png")
    with pytest.raises(DataError, match=r"0.png is 5 x 4 pixels, tall.png is 5 x 9"):
        read(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no images"):
        read(tmp_path / "empty")


def test_images_of_few_greys_are_their_lattice(tmp_path: Path) -> None:
    for kind in (Lattice(0, 1), Lattice(0, 255, 255), Lattice(0, 16)):
        pixels = (RNG.integers(0, kind.size, (30, 5, 4)) * kind.step).astype(np.uint8)
        data = read(pixels)
        assert data.space.kinds[0] == kind
        np.testing.assert_array_equal(data.frame(), pixels)
    for i, black in enumerate(pixels > 8):
        Image.fromarray(black).save(tmp_path / f"{i}.png")
    data = read(tmp_path)
    assert data.space.kinds[0] == Lattice(0, 255, 255)
    assert set(np.unique(data.frame())) == {0, 255}
    grey = RNG.integers(0, 256, (20, 5, 4)).astype(np.uint8).clip(30, 240)
    assert read(grey).space.kinds[0] == read(grey[:2, :2]).space.kinds[0] == Lattice(0, 255)  # few pixels, not few greys
    with pytest.raises(DataError, match="kind of pixels is a Kind"):
        read(grey, kinds={"pixels": "real"})
    assert read(np.zeros((20, 5, 4), dtype=np.uint8)).space.kinds[0] == Lattice(0, 255)


def test_images_of_sixteen_bits_keep_their_values(tmp_path: Path) -> None:
    pixels = RNG.integers(200, 60_000, (6, 4, 5)).astype(np.uint16)
    for i, image in enumerate(pixels):
        for mode, suffix in (("I;16", "png"), ("I", "pgm"), ("F", "tif")):  # mode, once read
            (tmp_path / mode).mkdir(exist_ok=True)
            Image.fromarray(image.astype(np.float32) if mode == "F" else image).save(tmp_path / mode / f"{i}.{suffix}")
    for mode in ("I;16", "I", "F"):
        data = read(tmp_path / mode)
        assert data.space.kinds[0] == Lattice(float(pixels.min()), float(pixels.max()))
        np.testing.assert_array_equal(data.frame(), pixels)
    tmp_path /= "I;16"
    assert read(tmp_path).frame().dtype == np.uint16
    Image.fromarray(pixels[0].astype(np.uint8)).save(tmp_path / "7.png")
    with pytest.raises(DataError, match=r"0.png are uint16, those of 7.png uint8"):
        read(tmp_path)


def test_digits_are_any_folder_of_that_name_too(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (6, 8, 8)).astype(np.uint8)
    np.savez(tmp_path / "digits.npz", images=pixels)
    data = read(tmp_path / "digits.npz")
    np.testing.assert_array_equal(data.frame(), pixels)
    with pytest.raises(DataError, match=r"position \(0, 0\) holds 300"):
        data.codec.encode(np.full((1, 8, 8), 300))


EMBEDDED = [("wine", 178, "cultivar"), ("breast-cancer", 569, "diagnosis"), ("iris", 150, "species")]


@pytest.mark.parametrize(("name", "rows", "target"), EMBEDDED)
def test_embedded_tables(name: str, rows: int, target: str) -> None:
    data = read(name)
    assert (len(data), data.target) == (rows, target)
    assert isinstance(data.space.kinds[-1], Category)


def test_embedded_digits_and_diabetes() -> None:
    digits = read("digits", context="label")
    assert digits.x.shape == (1797, 8, 8)
    assert digits.space.kinds[0] == Lattice(0, 16)
    assert digits.context is not None
    assert digits.context.kinds[0].states == 10
    diabetes = read("diabetes")
    back = np.array([column.to_numpy() for column in diabetes.frame().columns[:10]]).T
    np.testing.assert_allclose(back, load_diabetes().data, rtol=3e-7)
    assert isinstance(diabetes.space.kinds[0], Lattice)


# -- bad input ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("a,b\n", "has a header but no rows"),
        ("a,b\n1,2\n", "1 row; at least 2"),
        ("a,b\n1,2\n1,2,3\n", "Check the delimiter"),
        ("v\n" + "1\n" * 50 + "oops\n", "'oops' in row 50"),
        ("v\n1\n2\ninf\n", "infinite in row 2"),
        ("v\n1\n2\n1e300\n", "1e\\+300, beyond 1e100"),
    ],
)
def test_bad_text_is_a_clear_error(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read(path)


def test_bad_sources_are_clear_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"did you mean 'digits'\?$"):
        read("digit")
    with pytest.raises(DataError, match="embedded sets are"):
        read(tmp_path / "nowhere.csv")
    (tmp_path / "a.xyz").write_text("1")
    with pytest.raises(DataError, match=r"ending in .xyz are unknown"):
        read(tmp_path / "a.xyz")
    (tmp_path / "a.parquet").write_text("not parquet")
    with pytest.raises(DataError, match="Check that the file is whole"):
        read(tmp_path / "a.parquet")
    (tmp_path / "mixed.csv").write_bytes("a\nü\nö\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"not text in utf-8 .*name its encoding in encoding="):
        read(tmp_path / "mixed.csv", encoding="utf-8")
    with pytest.raises(DataError, match="no encoding 'klingon'"):
        read(tmp_path / "mixed.csv", encoding="klingon")
    with pytest.raises(DataError, match="Cannot read a int"):
        read(3)


def test_bad_columns_are_clear_errors() -> None:
    with pytest.raises(DataError, match=r"'m' mixes types: float \(1.5 in row 0\) and str \('x' in row 1\)"):
        read(pd.DataFrame({"m": pd.Series([1.5, "x", 2.0], dtype=object)}))
    with pytest.raises(DataError, match="'a' stands 2 times"):
        read(pd.DataFrame(np.ones((3, 2)), columns=["a", "a"]))
    with pytest.raises(DataError, match="infinite in row 1"):
        read(np.array([[1.5], [-np.inf], [2.5]]))
    with pytest.raises(DataError, match="different lengths"):
        read({"a": [1, 2], "b": [1, 2, 3]})
    with pytest.raises(DataError, match="0 rows"):
        read(np.empty((0, 2)))
    with pytest.raises(DataError, match="no column 'zip', named in kinds="):
        read("iris", kinds={"zip": "category"})
    with pytest.raises(DataError, match="no column 'y', named in context="):
        read("iris", context="y")
    with pytest.raises(DataError, match="both the context and the target"):
        read("iris", context="species", target="species")
    with pytest.raises(DataError, match="expected 'real', 'lattice', 'category'"):
        read({"v": [1, 2]}, kinds={"v": "nominal"})
    with pytest.raises(DataError, match="lie on no lattice"):
        read({"v": RNG.normal(size=30)}, kinds={"v": "lattice"})
    with pytest.raises(DataError, match="holds text such as 'a'"):
        read({"v": ["a", "b"]}, kinds={"v": "real"})
    with pytest.raises(DataError, match="one would be empty"):
        read({"v": [1, 2]}).split(0.9, 0.1)


# -- shared data ----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not TABLES.exists(), reason="the shared tables are not beside this checkout")
def test_shared_tables() -> None:
    adult = read(TABLES / "adult-train.csv", target="income")
    kind: dict[str, Any] = dict(zip(adult.space.names or (), adult.space.kinds, strict=True))
    assert kind["age"] == Lattice(17, 90, digits=17)
    assert {0.0, 99_999.0} <= set(kind["capital.gain"].atoms)
    assert kind["fnlwgt"].atoms == ()
    assert None in kind["workclass"].levels
    assert len(read(TABLES / "adult-test.csv", space=adult.codec)) == 24_403
    wine = read(TABLES / "wine.csv.gz")
    assert all(isinstance(k, Lattice) for k in wine.space.kinds)
    original = pd.read_csv(TABLES / "wine.csv.gz", header=None).to_numpy()
    np.testing.assert_array_equal(np.array(wine.frame().columns, dtype=object).T.astype(float), original)
    protein = read(TABLES / "protein.csv.gz")
    original = pd.read_csv(TABLES / "protein.csv.gz", header=None).to_numpy()
    np.testing.assert_array_equal(np.array([c.to_numpy() for c in protein.frame().columns]).T, original)
    last: Any = protein.space.kinds[9]
    assert last.atoms == (-1.8912,)


def test_dates_are_dates_in_messages(tmp_path: Path) -> None:
    days = pd.date_range("2023-01-06", periods=60, freq="D")
    path, new = tmp_path / "t.csv", tmp_path / "new.csv"
    path.write_text("when\n" + "".join(f"{day:%Y-%m-%d}\n" for day in days))
    new.write_text("when\n2023-02-01\n2031-01-01\n")
    space = read(path).codec
    with pytest.raises(DataError, match=r"'when' holds 2031-01-01 in row 1 .* dates from 2023-01-06 to 2023-03-06"):
        read(new, space=space)
    with pytest.raises(DataError, match=r"such as 'soon'; expected dates from 2023-01-06"):
        read({"when": ["soon"]}, space=space)
    seconds = read(pd.DataFrame({"when": days.as_unit("s")}), space=space)  # other units, the same days
    assert torch.equal(seconds.x, read(path, space=space).x)
    hours = read(pd.DataFrame({"when": days.as_unit("ns") + pd.Timedelta("1h")})).codec
    with pytest.raises(DataError, match=r"holds 2022-01-01 05:00:00 .* times from 2023-01-06 01:00:00 to"):
        read({"when": [pd.Timestamp("2022-01-01 05:00:00")]}, space=hours)


def test_reading_does_not_touch_the_random_state() -> None:
    state = torch.random.get_rng_state()
    genus.read("iris").split(seed=1)
    assert torch.equal(state, torch.random.get_rng_state())

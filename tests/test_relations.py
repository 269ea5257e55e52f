"""Relations between columns: rewrites in the codec, exact both ways, saved and loaded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch

import genus
from genus.codec import Codec
from genus.codec.frames import Form
from genus.codec.rewrites import Rewrite, _rewrites, place_columns, rewrite_from_json
from genus.errors import DataError
from genus.space import Category, Lattice, Space


@pytest.fixture
def doubled() -> Iterator[type[Rewrite]]:
    """A rewrite that is gone after the test: column b is twice column a."""

    @dataclass(frozen=True)
    class Doubled(Rewrite):
        a: str
        b: str

        @property
        def reads(self) -> tuple[str, ...]:
            return (self.a, self.b)

        def forward(self, table: pa.Table) -> tuple[pa.Table, np.ndarray]:
            broken = pc.not_equal(table.column(self.b), pc.multiply(table.column(self.a), 2))
            return place_columns(table, [self.b], {}), np.asarray(broken, dtype=bool)

        def backward(self, table: pa.Table, seed: int = 0, start: int = 0) -> pa.Table:
            return table.append_column(self.b, pc.multiply(table.column(self.a), 2))

        def describe(self) -> str:
            return f"{self.b} = 2 {self.a}"

    yield Doubled
    del _rewrites["doubled"]


def doubled_codec(doubled: type[Rewrite], form: Form) -> Codec:
    space = Space([Lattice(0, 9), Category(("x", "y"))], names=["a", "t"])
    return Codec(space, form, (doubled(a="a", b="b"),), ("b", "a", "t"))  # type: ignore[call-arg]


def test_a_rewrite_stands_between_the_table_and_the_space(doubled: type[Rewrite], tmp_path: Path) -> None:
    codec = doubled_codec(doubled, Form("pyarrow", ("int64", "int64", "string")))
    table = pa.table({"b": [2, 8], "a": [1, 4], "t": ["y", "x"]})
    x = codec.encode(table)
    assert x.tolist() == [[1, 1], [4, 0]]
    assert codec.decode(x).equals(table)
    wrong = pa.table({"t": ["y", "x"], "b": [3, 8], "a": [1, 4]})
    with pytest.raises(DataError, match=r"^Row 0 \(1 such in all\) breaks b = 2 a: 'a' is 1 and 'b' is 3; drop"):
        codec.encode(wrong)
    assert codec.encode(wrong, beyond=True).tolist() == [[torch.inf, torch.inf], [4, 0]]
    with pytest.raises(DataError, match="lack column 'b'"):
        codec.encode(wrong.drop_columns(["b"]))
    assert "relation  b = 2 a" in str(codec)
    model = genus.build("naive-bayes", codec.space)
    model.codec = codec
    genus.save(model, tmp_path / "model.genus")
    assert genus.load(tmp_path / "model.genus").codec == codec


def test_a_rewrite_of_a_file_is_checked(doubled: type[Rewrite]) -> None:
    codec = doubled_codec(doubled, Form("pyarrow", ("int64", "int64", "string")))
    described = codec.to_json()
    assert described is not None
    assert Codec.from_json(codec.space, described) == codec
    for wrong in ({"rewrite": "none"}, {"rewrite": "doubled"}, {"rewrite": "doubled", "a": "a", "b": "b", "c": 1}, 3):
        with pytest.raises(DataError):
            rewrite_from_json(wrong)
    with pytest.raises(DataError, match="lead to the columns a, t"):
        Codec.from_json(codec.space.select([1]), described)
    with pytest.raises(DataError, match="needs a form"):
        replace(codec, form=None)


def test_arrays_go_through_rewrites_too(doubled: type[Rewrite]) -> None:
    space = Space([Lattice(0, 9)], names=["a"])
    codec = Codec(space, Form("numpy", ("int64",)), (doubled(a="a", b="b"),), ("a", "b"))  # type: ignore[call-arg]
    array = np.array([[1, 2], [3, 6]])
    assert codec.encode(array).tolist() == [[1], [3]]
    assert codec.decode(codec.encode(array)).tolist() == array.tolist()

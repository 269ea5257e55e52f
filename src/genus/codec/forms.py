"""Say in which form a person's data were: the container, the types of columns, how times and decimals are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow as pa

from genus.codec.arrow import type_of
from genus.codec.decimals import SPEC
from genus.codec.writing import Writing
from genus.errors import DataError

__all__ = ["ARRAYS", "Form"]

FRAMES = ("pandas", "polars", "pyarrow", "dict")
ARRAYS = ("numpy", "torch", "images", "text", "audio")  # containers of one dtype


@dataclass(frozen=True)
class Form:
    """Hold the form in which samples are returned: that of the data that were read.

    Args:
        container: "pandas", "polars", "pyarrow", "dict", "numpy", "torch", "images", "text" or "audio".
        dtypes: Arrow's name of every column's type; for arrays the single name of NumPy.
        native: the frame's own name of every column's type, where Arrow's is not enough to restore it.
        channels_last: the images were read as (H, W, C); in a space they are (C, H, W).
        labels: the frame's own column labels, where they are whole numbers and not text.
        coding: the code by which numbers stand for a sequence: for text "characters", "bytes" or a tokenizer in JSON; for audio
            "mu-law", "linear", "linear-8", "real".
        rate: of audio, samples a second.
        writings: how every column of times was written, None where it was not text; empty where no column was.
        decimals: of every column of a frame, the format of its numbers as `measure_decimals` gives it; empty: they are not
            rounded.
    """

    container: str
    dtypes: tuple[str, ...]
    native: tuple[str, ...] = ()
    channels_last: bool = False
    labels: tuple[int | str, ...] = ()
    coding: str = ""
    rate: int = 0
    writings: tuple[Writing | None, ...] = ()
    decimals: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        odd = next((spec for spec in self.decimals if spec and not SPEC.fullmatch(spec)), None)
        if odd is not None or (self.decimals and len(self.decimals) != len(self.dtypes)):
            raise DataError(f"The decimals of a form are a format such as '.2f' for each column; got {odd or self.decimals!r}.")
        for name in ("native", "labels", "writings") if self.container not in ARRAYS else ():
            if (values := getattr(self, name)) and len(values) != len(self.dtypes):
                raise DataError(f"A form of {len(self.dtypes)} columns has {len(values)} {name}; expected one for each column.")

    def column_type(self, i: int) -> pa.DataType | None:
        """Return Arrow's type of column i; None where the data were no frame."""
        return type_of(self.dtypes[i]) if self.container not in ARRAYS else None

    def writing(self, i: int) -> Writing | None:
        """Return how the times of column i were written; None where it holds none, or they were no text."""
        return self.writings[i] if self.writings else None

    def select(self, columns: Sequence[int]) -> Form:
        """Return the form of some of the columns."""
        if self.container in ARRAYS:
            return self
        kept: dict[str, Any] = {
            name: tuple(getattr(self, name)[i] for i in columns)
            for name in ("dtypes", "native", "labels", "writings", "decimals")
            if getattr(self, name)
        }
        return replace(self, **kept)

    def select_names(self, names: Sequence[str], chosen: Sequence[str]) -> Form:
        """Return the form of the chosen columns, where `names` are those of all columns."""
        place = {name: i for i, name in enumerate(names)}
        return self.select([place[name] for name in chosen])

    def to_json(self) -> dict[str, Any]:
        """Return the form as JSON values; `from_json` is the inverse."""
        values = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        return values | {"writings": [w and w.to_json() for w in self.writings]}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Form:
        """Return the form that `to_json` described.

        Raises:
            DataError: a value is of another type than the form's.
        """
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in data.items()}
        if values.get("container") not in (*ARRAYS, *FRAMES):
            raise DataError(f"A form is {', '.join((*ARRAYS, *FRAMES))}; got {str(values.get('container'))[:80]!r}.")
        texts = (*values.get("dtypes", ()), *values.get("native", ()), *values.get("decimals", ()), values.get("coding", ""))
        sizes = (values.get("rate", 0), *(label for label in values.get("labels", ()) if not isinstance(label, str)))
        odd = [v for v in texts if not isinstance(v, str)] + [v for v in sizes if type(v) is not int]
        if odd or values.get("rate", 0) < 0 or not isinstance(values.get("channels_last", False), bool):
            raise DataError(f"A form holds the names of types, and whole numbers; got {str(odd or data)[:80]}.")
        values["writings"] = tuple(w and Writing(**w) for w in values.get("writings", ()))
        return cls(**values)

"""A model behind HTTP: samples, scores and filled rows in JSON, within limits. The extra `serve` installs what it needs."""

from __future__ import annotations

import math
import threading
from typing import Any

import torch
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from genus import __version__
from genus.cli.conditions import parse_conditions
from genus.cli.errors import UsageError
from genus.cli.inputs import codec_of, context_codec_of
from genus.cli.outputs import sample_notes
from genus.cli.sample import drawn
from genus.cli.scoring import Scoring, scored
from genus.codec import Codec
from genus.data import read
from genus.errors import GenusError, listed, near
from genus.ladder import ApproximateDensity, GenerativeModel
from genus.questions import impute
from genus.space import Space

__all__ = ["Answers", "RowsRequest", "SampleRequest", "application"]

Row = dict[str, Any]
MEGABYTE = 1_000_000


class Asked(BaseModel):
    """Hold the body of a request; a field that is not known is an error, not ignored."""

    model_config = ConfigDict(extra="forbid")


class SampleRequest(Asked):
    """Hold how many rows are asked for, and of which kind.

    Attributes:
        n: the number of rows.
        where: conditions as the command line has them: ["income=>50K", "age=30..40"].
        context: one value a column of the context, of a model that has one.
        seed: the same seed gives the same rows.
    """

    n: int = Field(1, ge=0)
    where: list[str] = []
    context: Row | None = None
    seed: int | None = Field(None, ge=0)


class RowsRequest(Asked):
    """Hold the rows that a question is about.

    Attributes:
        rows: objects with a value a column; null, or no value, is a blank.
        seed: of what is drawn into blanks.
    """

    rows: list[Row]
    seed: int | None = Field(None, ge=0)


class Answers:
    """Answer questions to one model of a table, one after the other.

    Args:
        model: a model of a table, trained.
        most_rows: of one request.

    Raises:
        GenusError: the model draws no table.
    """

    def __init__(self, model: GenerativeModel, most_rows: int) -> None:
        if not model.space.is_table:
            raise GenusError(f"genus serve answers in rows, and this {model.name} draws no table; use genus sample instead.")
        self.model, self.most_rows = model, most_rows
        self.codec, self.context = codec_of(model), context_codec_of(model)
        self.turn = threading.Lock()  # each computation uses all cores

    def describe(self) -> dict[str, Any]:
        """Say what the model is, its columns, and what a person should know of its samples."""
        told = {"family": self.model.name, "label": self.model.info.likelihood, "columns": _kinds(self.model.space)}
        told |= {"context": _kinds(self.model.context), "notes": sample_notes(self.codec)}
        return told | {"most_rows": self.most_rows, "version": __version__}

    def sample(self, asked: SampleRequest) -> dict[str, list[Row]]:
        """Draw rows."""
        self._check(asked.n)
        self.codec.check_room(asked.n)
        choices: dict[str, Any] = {"c": self._given(asked.context), "seed": asked.seed}
        choices |= {"where": parse_conditions(self.model, asked.where)} if asked.where else {}
        with self.turn, torch.inference_mode():
            return {"rows": _json_rows(drawn((self.model, choices), (0, asked.n, asked.seed)).to_pylist())}

    def score(self, asked: RowsRequest) -> dict[str, Any]:
        """Give every row its log-density in nats: null where it has no mass, with the reason."""
        self._check(len(asked.rows))
        if not isinstance(self.model, ApproximateDensity):
            raise GenusError(f"This is a {self.model.name}, which has no density to score rows with.")
        if not asked.rows:
            return {"label": self.model.info.likelihood, "log_density": [], "reason": []}
        with self.turn:
            task = Scoring(self.model, {"missing": None, "header": None})
            found = scored(task, (0, _columns(asked.rows, self.codec, self.context), False))
        reasons = found.more["reason"].to_pylist() if "reason" in found.more else [None] * len(asked.rows)
        values = [value if math.isfinite(value) else None for value in found.values.tolist()]
        return {"label": found.label, "log_density": values, "reason": reasons}

    def fill(self, asked: RowsRequest) -> dict[str, Any]:
        """Fill the blanks of rows."""
        self._check(len(asked.rows))
        if not asked.rows:
            return {"rows": [], "filled": 0}
        with self.turn:
            found = impute(self.model, _columns(asked.rows, self.codec, self.context), seed=asked.seed)
        return {"rows": _json_rows(found.tables[0].to_pylist()), "filled": found.cells}

    def _check(self, count: int) -> None:
        if count > self.most_rows:
            said = f"{count:,} rows are more than the {self.most_rows:,} of one request"
            raise HTTPException(413, f"{said}; ask in parts, or start genus serve with --most-rows")

    def _given(self, row: Row | None) -> Any:
        """Return one row of c, or None of a model without a context or where nothing is given."""
        if row is None:
            return None
        if self.context is None:
            raise GenusError("This model has no context; leave it out.")
        return read(_columns([row], self.context), space=self.context).x


def application(model: GenerativeModel, most_rows: int = 10_000, most_megabytes: int = 16) -> FastAPI:
    """Return an application that answers questions to one model of a table over HTTP.

    Args:
        model: a model of a table, trained.
        most_rows: of one request.
        most_megabytes: of the body of one request.

    Raises:
        GenusError: the model draws no table.
    """
    app, answers = FastAPI(title=f"genus: {model.name}", version=__version__), Answers(model, most_rows)
    app.get("/")(answers.describe)
    for path, answer in (("/sample", answers.sample), ("/score", answers.score), ("/impute", answers.fill)):
        app.post(path)(answer)

    async def limit_body(request: Request, go_on: Any) -> Any:
        length = request.headers.get("content-length", "0" if request.method == "GET" else "")
        if not length.isdecimal():
            return JSONResponse({"detail": "a request with a body says its Content-Length"}, 411)
        if int(length) > most_megabytes * MEGABYTE:
            return JSONResponse({"detail": f"a body of more than {most_megabytes} MB is not read; ask in parts"}, 413)
        return await go_on(request)

    async def explain(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 422)

    app.middleware("http")(limit_body)
    for kind in (GenusError, UsageError):
        app.exception_handler(kind)(explain)
    return app


def _kinds(space: Space | None) -> dict[str, str]:
    return {} if space is None else {name: str(kind) for name, kind in zip(space.names or (), space.kinds)}


def _columns(rows: list[Row], *codecs: Codec | None) -> dict[str, list[Any]]:
    """Return rows as the columns of these codecs, None where a row has no value; raise GenusError for a name of no column."""
    names = [name for codec in codecs if codec is not None for name in codec.column_names]
    if odd := next((name for row in rows for name in row if name not in names), None):
        raise GenusError(f"There is no column {odd!r}{near(odd, names)}; the model's are {listed(names)}.")
    return {name: [row.get(name) for row in rows] for name in names}


def _json_rows(rows: list[Row]) -> list[Row]:
    """Return rows that JSON can hold: numbers that are not finite as null, times as text."""
    return [{name: _value(value) for name, value in row.items()} for row in rows]


def _value(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)

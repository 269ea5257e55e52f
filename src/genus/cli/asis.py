"""Write tables back as delimited text in which every cell that held a value is exactly as it was, `4e-04` for instance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genus.cli.outputs import WRITTEN, TableNotes, as_cells, quoted

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

__all__ = ["AsWritten"]


class AsWritten:
    """Give blocks of a table, one after another, with the cells of its file of delimited text but for those that were filled.

    A column stays as it was read where its cells are no plain numbers, such as those with decimal commas: what is drawn is
    written in another way, and both in one column would be texts. So does every column where another form is written, or
    where --safe-csv marks cells.

    Args:
        source: the data.
        reading: the arguments of `genus.read`.
        out: where the table is written; None: stdout.
        output: how.
    """

    def __init__(self, source: Any, reading: dict[str, Any], out: Path | None, output: TableNotes) -> None:
        suffix = out.suffix.lower() if out is not None else ".json" if output.as_json else ".csv"
        self.delimiter = {".csv": ",", ".tsv": "\t"}.get(suffix, "")
        self.source, self.reading = source, reading
        self.blocks: Iterator[pa.Table] | None = None
        self.names: list[str] | None = None if self.delimiter and not output.safe_csv else []

    def __call__(self, table: pa.Table, rows: int, filled: Mapping[str, np.ndarray]) -> pa.Table:
        """Return the next block.

        Args:
            table: the rows of the block, once or several times, with columns that the file has not.
            rows: how many they are.
            filled: which of them (rows,) a column holds another value in than the file.
        """
        if self.names == [] or not rows:
            return table
        texts = self._next(rows)
        if texts is None or texts.num_rows != rows:
            self.names = []
            return table
        kept = [name for name in table.column_names if name in (texts.column_names if self.names is None else self.names)]
        changed = {name: self._column(table, texts.column(name), filled.get(name), rows, name) for name in kept}
        self.names = [name for name, column in changed.items() if column is not None] if self.names is None else self.names
        for i, name in enumerate(table.column_names):
            if (column := changed.get(name)) is not None:
                table = table.set_column(i, *column)
        return table

    def _next(self, rows: int) -> pa.Table | None:
        """Return the cells of the next rows of the file; None where there are none, or it is no delimited text."""
        from genus.data.arguments import Options
        from genus.data.parts import text_parts
        from genus.errors import DataError

        try:
            if self.blocks is None:
                options = Options(missing=tuple(self.reading["missing"] or ()), header=self.reading["header"])
                parts = text_parts(self.source, options)
                self.blocks = iter(()) if parts is None else parts.blocks(rows)
            return next(self.blocks, None)
        except DataError:
            return None

    def _column(
        self, table: pa.Table, texts: pa.ChunkedArray, filled: np.ndarray | None, rows: int, name: str
    ) -> tuple[pa.Field, pa.ChunkedArray] | None:
        """Return a column of a block with the cells of the file; None where these say something else."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        from genus.codec.arrow import spelled_alike
        from genus.data.written import means_the_same

        drawn, field = table.column(name), table.schema.field(name)
        filled = np.zeros(rows, dtype=bool) if filled is None else filled
        if not means_the_same(texts, drawn.slice(0, rows), ~filled):
            return None
        bare = pc.and_(pc.match_substring(texts, self.delimiter), pc.invert(pc.match_substring_regex(texts, '^"')))
        cells = pc.if_else(bare, quoted(texts, self.delimiter), texts)
        new = spelled_alike(as_cells(drawn, field, self.delimiter), texts.filter(pa.array(~filled)))
        draws = table.num_rows // rows
        cells = pa.chunked_array([chunk for _ in range(draws) for chunk in cells.chunks])
        cells = pc.if_else(pa.array(np.tile(filled, draws)), new, cells)
        was_text = pa.types.is_string(drawn.type) or pa.types.is_large_string(drawn.type) or pa.types.is_dictionary(drawn.type)
        return field.with_type(cells.type).with_metadata({WRITTEN: b"text" if was_text else b"other"}), cells

"""Constraints that a person declares: a small language of comparisons between columns, and their meaning.

`checkin < checkout`, `net + tax = total`, `low <= mid <= high`, `city -> state`, `2 * a < b`, `colour != trim`. A text becomes
a tree of Python's grammar, of which only names of columns, numbers, texts, + - * / and comparisons are taken; nothing of it is
ever run as code.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from genus.codec.arrow import is_numeric, to_numbers, value_type
from genus.codec.relations import exact_numbers
from genus.codec.rewrites import Rewrite
from genus.errors import DataError, listed, near

__all__ = ["Constraint", "quoted"]

TOKEN = re.compile(r"(?P<number>\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+)|(?P<sign><=|>=|==|!=|->|[-<>=+*/()])")
QUOTED = re.compile(r"""(?P<quote>["'`])(?P<text>.*?)(?P=quote)""")
COMPARISONS: dict[type[ast.cmpop], tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Lt: ("<", operator.lt),
    ast.LtE: ("<=", operator.le),
    ast.Gt: (">", operator.gt),
    ast.GtE: (">=", operator.ge),
    ast.Eq: ("=", operator.eq),
    ast.NotEq: ("!=", operator.ne),
}
ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
ALIKE = 1e-9  # how far, relative to their size, two sums of numbers may be apart that are called equal


def quoted(name: str) -> str:
    """Return a column's name as a constraint has it."""
    return name if name.isidentifier() else f'"{name}"'


@dataclass(frozen=True)
class Constraint(Rewrite):
    """Keeps rows that satisfy comparisons between columns; others have no density, and draws that break it are drawn again.

    As a rewrite it changes no column. A row that lacks a value which the constraint needs satisfies it.

    Args:
        text: "a * 2 < b"; names with signs in them stand in quotes.
        names: of the table's columns.

    >>> rule = Constraint("2 * a < b", ("a", "b"))
    >>> rule.forward(pa.table({"a": [1, 2, None], "b": [3, 4, 0]}))[1].tolist()
    [False, True, False]
    >>> Constraint("a < c", ("a", "b"))
    Traceback (most recent call last):
        ...
    genus.errors.DataError: The constraint 'a < c' is not understood at 'c'; the columns are a, b.
    """

    text: str
    names: tuple[str, ...]
    rejects = True

    def __post_init__(self) -> None:
        if not isinstance(self.text, str) or not all(isinstance(name, str) for name in self.names):
            raise DataError(f"A constraint is a text such as 'start <= end'; got {self.text!r}.")
        self._tree  # noqa: B018 - what cannot be understood is an error at once

    @classmethod
    def order(cls, low: str, high: str, strict: bool, names: tuple[str, ...]) -> Constraint:
        """Return the constraint that one column is not above another, or always below it."""
        return cls(f"{quoted(low)} {'<' if strict else '<='} {quoted(high)}", names)

    @classmethod
    def end(cls, column: str, sign: str, value: float, names: tuple[str, ...]) -> Constraint:
        """Return the constraint that a column of numbers is not beyond a value: sign is "<=" or ">="."""
        return cls(f"{quoted(column)} {sign} {value:.15g}", names)

    # -- the text ---------------------------------------------------------------------------------------------------------

    @cached_property
    def _tokens(self) -> list[tuple[str, Any]]:
        """Return the text as ("column", place), ("number", text), ("text", text) and ("sign", text)."""
        found: list[tuple[str, Any]] = []
        longest = sorted(range(len(self.names)), key=lambda i: -len(self.names[i]))
        at, text = 0, self.text
        while at < len(text):
            if text[at].isspace():
                at += 1
                continue
            column = next((i for i in longest if self._stands(self.names[i], at)), None)
            if column is not None:
                found.append(("column", column))
                at += len(self.names[column])
            elif (quoted := QUOTED.match(text, at)) is not None:
                inner = quoted["text"]
                known = inner in self.names and quoted["quote"] != "'"
                found.append(("column", self.names.index(inner)) if known else ("text", inner))
                at = quoted.end()
            elif (token := TOKEN.match(text, at)) is not None:
                found.append((str(token.lastgroup), token[0]))
                at = token.end()
            else:
                rest = text[at:].strip()
                meant = near(re.split(r"[^\w ]", rest)[0], self.names)
                raise self._error(f"is not understood at {rest!r}{meant}")
        return found

    def _stands(self, name: str, at: int) -> bool:
        """Return whether a column's name stands here, and is not the beginning of a longer word."""
        end = at + len(name)
        if not name or not self.text.startswith(name, at):
            return False
        after, before = self.text[end : end + 1], self.text[at - 1 : at] if at else ""
        return not any(word(a) and word(b) for a, b in ((name[-1], after), (before, name[0])))

    def _error(self, problem: str) -> DataError:
        return DataError(f"The constraint {self.text!r} {problem}; the columns are {listed(self.names)}.")

    @cached_property
    def function(self) -> tuple[str, str] | None:
        """Return (of, column) of "of -> column", which says that the column follows from the other; None for comparisons."""
        tokens = self._tokens
        if ("sign", "->") not in tokens:
            return None
        if [kind for kind, _ in tokens] != ["column", "sign", "column"] or tokens[0] == tokens[2]:
            raise self._error("is no function; expected A -> B, of two columns")
        return self.names[tokens[0][1]], self.names[tokens[2][1]]

    @cached_property
    def _tree(self) -> ast.Compare | None:
        """Return the comparisons as a tree in which column i is called c<i>; None for a function."""
        if self.function is not None:
            return None
        words: dict[str, Callable[[Any], str]] = {
            "column": lambda i: f"c{i}",
            "text": repr,
            "number": str,
            "sign": lambda s: "==" if s == "=" else s,
        }
        try:
            tree = ast.parse(" ".join(words[kind](value) for kind, value in self._tokens), mode="eval").body
        except (SyntaxError, RecursionError, MemoryError) as error:
            raise self._error("is no comparison of columns, such as 'a <= b' or 'a + b = c'") from error
        if not isinstance(tree, ast.Compare) or any(type(op) not in COMPARISONS for op in tree.ops) or not self._columns(tree):
            raise self._error("is no comparison of columns, such as 'a <= b' or 'a + b = c'")
        for side in (tree.left, *tree.comparators):
            self._check(side)
        return tree

    def _check(self, node: ast.AST) -> None:
        """Raise DataError where a side of a comparison holds anything but columns, numbers, texts and arithmetic."""
        inner: list[ast.AST] = []
        if isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
            inner = [node.left, node.right]
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            inner = [node.operand]
        elif not isinstance(node, ast.Name | ast.Constant):
            raise self._error("holds more than columns, numbers, + - * / and comparisons")
        if any(isinstance(part, ast.Constant) and isinstance(part.value, str) for part in inner):
            raise self._error("calculates with text")
        for part in inner:
            self._check(part)

    def _columns(self, tree: ast.AST) -> list[str]:
        found = (self.names[int(node.id[1:])] for node in ast.walk(tree) if isinstance(node, ast.Name))
        return list(dict.fromkeys(found))

    def statements(self) -> list[tuple[str, dict[str, float], float]]:
        """Return each comparison as (sign, weights, constant): the sign stands between 0 and weighted columns plus a constant.

        >>> Constraint("a <= b", ("a", "b")).statements()
        [('<=', {'a': -1.0, 'b': 1.0}, 0.0)]

        Returns:
            The sign is one of < <= = !=. Empty where a comparison is not linear, or is of text.
        """
        tree = self._tree
        if tree is None:
            return []
        sides = [tree.left, *tree.comparators]
        found = []
        for left, op, right in zip(sides, tree.ops, sides[1:], strict=False):
            sign = COMPARISONS[type(op)][0]
            if sign in (">", ">="):
                left, right, sign = right, left, sign.replace(">", "<")
            first, second = self._linear(left), self._linear(right)
            if first is None or second is None:
                return []
            weights = {name: second[0].get(name, 0.0) - first[0].get(name, 0.0) for name in (*first[0], *second[0])}
            found.append((sign, {name: w for name, w in weights.items() if w}, second[1] - first[1]))
        return found

    def _linear(self, node: ast.AST) -> tuple[dict[str, float], float] | None:
        """Return a side of a comparison as weights of columns and a constant; None where it is neither."""
        if isinstance(node, ast.Name):
            return {self.names[int(node.id[1:])]: 1.0}, 0.0
        if isinstance(node, ast.Constant):
            return ({}, float(node.value)) if isinstance(node.value, int | float) else None
        if isinstance(node, ast.UnaryOp):
            inner = self._linear(node.operand)
            return inner if inner is None or isinstance(node.op, ast.UAdd) else _scaled(inner, -1.0)
        if not isinstance(node, ast.BinOp):
            return None
        first, second = self._linear(node.left), self._linear(node.right)
        if first is None or second is None:
            return None
        if isinstance(node.op, ast.Add | ast.Sub):
            other = second if isinstance(node.op, ast.Add) else _scaled(second, -1.0)
            weights = {name: first[0].get(name, 0.0) + other[0].get(name, 0.0) for name in (*first[0], *other[0])}
            return weights, first[1] + other[1]
        if isinstance(node.op, ast.Mult) and not (first[0] and second[0]):
            return _scaled(first, second[1]) if first[0] else _scaled(second, first[1])
        return _scaled(first, 1 / second[1]) if not second[0] and second[1] else None

    # -- rows -------------------------------------------------------------------------------------------------------------

    @property
    def reads(self) -> tuple[str, ...]:
        return self.function or tuple(self._columns(self._tree))  # type: ignore[arg-type]

    def forward(self, table: pa.Table) -> tuple[pa.Table, np.ndarray]:
        broken = np.zeros(table.num_rows, dtype=bool)
        if self._tree is None:
            return table, broken
        sides = [self._tree.left, *self._tree.comparators]
        for left, op, right in zip(sides, self._tree.ops, sides[1:], strict=False):
            broken |= ~self._compare(left, op, right, table)
        return table, broken

    def describe(self) -> str:
        return self.text

    @property
    def signs(self) -> list[str]:
        """Return the signs of the text, in their order."""
        return [value for kind, value in self._tokens if kind == "sign"]

    def left_side(self, table: pa.Table) -> np.ndarray:
        """Return what stands on the left of the first comparison in every row, (N,) numbers; NaN where a value is missing."""
        assert self._tree is not None
        return self._value(self._tree.left, table)

    def _compare(self, left: ast.expr, op: ast.cmpop, right: ast.expr, table: pa.Table) -> np.ndarray:
        """Return where a comparison holds, or a value is missing, (N,) bool."""
        sign, compare = COMPARISONS[type(op)]
        sides = [self._compared(one, other, table) for one, other in ((left, right), (right, left))]
        texts = [side.dtype == object for side in sides]
        if any(texts):
            if not all(texts) or sign not in ("=", "!="):
                raise self._error("compares text; expected = or != between two columns of text, or a column and a text")
            unknown = np.array([a is None or b is None for a, b in zip(*sides, strict=True)], dtype=bool)
            return np.asarray(compare(*sides), dtype=bool) | unknown
        a, b = sides
        unknown = np.isnan(a) | np.isnan(b)
        near = np.abs(a - b) <= ALIKE * np.maximum(np.abs(a), np.abs(b)) * (a.dtype.kind == "f" or b.dtype.kind == "f")
        if sign in ("=", "!="):
            return (near if sign == "=" else ~near) | unknown
        return np.asarray(np.where(near, "=" in sign, compare(a, b)), dtype=bool) | unknown

    def _compared(self, node: ast.expr, other: ast.expr, table: pa.Table) -> np.ndarray:
        """Return a side of a comparison, (N,) numbers or texts; a text beside a column of time is a time."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            kind = table.column(self._columns(other)[0]).type if isinstance(other, ast.Name) else pa.string()
            if pa.types.is_temporal(kind):
                try:
                    value = pa.chunked_array([pa.array([node.value]).cast(kind)])
                except pa.ArrowException as error:
                    raise self._error(f"compares {self._columns(other)[0]} with {node.value!r}, which is no {kind}") from error
                return np.full(table.num_rows, exact_numbers(value)[0])
            return np.full(table.num_rows, node.value, dtype=object)
        return self._value(node, table)

    def _value(self, node: ast.AST, table: pa.Table) -> np.ndarray:
        """Return the value of an expression in every row, (N,)."""
        if isinstance(node, ast.Name):
            column = table.column(self.names[int(node.id[1:])])
            kind = value_type(column.type)
            if pa.types.is_boolean(kind):
                return to_numbers(column.cast(kind))
            if is_numeric(kind) or pa.types.is_temporal(kind) or pa.types.is_decimal(kind):
                return exact_numbers(column.cast(kind))
            texts = np.empty(len(column), dtype=object)
            texts[:] = column.to_pylist()
            return texts
        if isinstance(node, ast.Constant):
            return np.full(table.num_rows, node.value)
        inner = [node.left, node.right] if isinstance(node, ast.BinOp) else [node.operand]  # type: ignore[attr-defined]
        values = [self._value(part, table) for part in inner]
        if any(value.dtype == object for value in values):
            raise self._error("calculates with text")
        if isinstance(node, ast.BinOp):
            with np.errstate(divide="ignore", invalid="ignore"):
                return ARITHMETIC[type(node.op)](*values)
        return -values[0] if isinstance(node.op, ast.USub) else values[0]  # type: ignore[attr-defined]


def word(character: str) -> bool:
    """Return whether a character is part of a word."""
    return character.isalnum() or character == "_"


def _scaled(linear: tuple[dict[str, float], float], by: float) -> tuple[dict[str, float], float]:
    return {name: weight * by for name, weight in linear[0].items()}, linear[1] * by

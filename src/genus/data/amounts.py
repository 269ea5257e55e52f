"""Amounts as people write them: with a unit, marks of thousands, a decimal comma, or parentheses for a minus."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

__all__ = ["AMOUNT", "Amounts", "read_amounts"]

SIGNS = "$€£¥₹₽₺₩₫₪₱"
CODES = (
    r"Rs\.?|R\$|US\$|CA?\$|AU?\$|HK\$|NZ\$|kr\.?|Fr\.|RM|Rp\.?|"
    "USD|EUR|GBP|CHF|JPY|CNY|INR|CAD|AUD|SEK|NOK|DKK|PLN|CZK|BRL|MXN|KRW|ZAR"
)
BLANKS = " \u00a0\u202f"
MINUS = "−-"  # that of typography, and that of keyboards
TIMES = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "B": 10**9, "bn": 10**9}  # letters that multiply, where they differ
# A parenthesis or a sign, a currency, a sign, digits with their marks, and a unit.
AMOUNT = (
    rf"^(\(?)([+{MINUS}]?)[{BLANKS}]?([{SIGNS}]|(?:{CODES})[{BLANKS}]?|)[{BLANKS}]?([+{MINUS}]?)(\d[\d.,'’{BLANKS}]*|\.\d+)"
    rf"([%‰{SIGNS}]|[A-Za-zµμ°ºΩ²³łč/]{{1,12}}|)(\)|-|)$"
)
APART = rf"^[1-9]\d{{0,2}}([{BLANKS}'’]\d{{3}})*([.,]\d+)?$|^0([.,]\d+)?$"  # 12 500 or 12'500.50
POINT = r"^\d{1,3}(,\d{3})*(\.\d*)?$|^\d*\.?\d+$|^\d+\.$"  # 12,500.50 or 12500.5
COMMA = r"^\d{1,3}(\.\d{3})*(,\d+)?$|^\d+(,\d+)?$"  # 12.500,50 or 12500,5
FEWEST = 10  # different texts with letters behind their digits; a few are sizes, which may be levels


class Amounts(NamedTuple):
    """Holds the numbers that texts stand for, and what of their writing is lost."""

    numbers: list[float] | list[int]
    notes: list[str]


def read_amounts(texts: Sequence[str], decimal: bool = False, numeric: bool = False) -> Amounts | None:
    """Return the numbers of texts that all have the same unit, or marks of thousands; None where they are to stay text.

    Args:
        texts: different texts, each of which matches `AMOUNT`.
        decimal: a comma is a decimal comma, where it may mark thousands as well.
        numeric: they are known to be numbers, however few there are.

    >>> read_amounts(["(1,200.50 €)", "75.25 €"]).numbers
    [-1200.5, 75.25]
    >>> read_amounts(["12'500", "700"]).numbers, read_amounts(["555 123", "555 124"])
    ([12500, 700], None)
    """
    found = [part for text in texts if (part := re.match(AMOUNT, text)) is not None]
    unit, times = _unit(found)
    if len(found) < len(texts) or unit is None or any(bool(part[1]) != (part[7] == ")") for part in found):
        return None
    digits = [part[5].strip(BLANKS) for part in found]
    enclosed = sum(bool(part[1]) for part in found)
    behind = sum(part[7] == "-" for part in found)
    odd = behind or any("−" in (part[2], part[4]) for part in found)
    apart = any(re.search(rf"[{BLANKS}'’]", text) for text in digits)
    lettered = unit.isalpha() or "/" in unit
    padded = lettered and any(re.match(r"0\d", text) for text in digits)  # codes, such as 007B
    if (
        len(found) in (enclosed, behind)
        or padded
        or not (unit or enclosed or apart or odd or times)
        or (lettered and not numeric and len(found) < FEWEST)
    ):
        return None
    plain = _without_marks(digits, apart, decimal, numeric)
    if plain is None:
        return None
    notes = [f"the unit {unit}, and samples of it are the numbers alone"] if unit else []
    notes += ["negative amounts in parentheses, and samples of it have a minus"] if enclosed else []
    notes += ["marks of thousands, and samples of it have none"] if apart else []
    notes += ["decimal commas, and samples of it have points"] if _has_decimal_commas(digits, plain) else []
    notes += ["a minus behind its amounts, and samples of it have one before them"] if behind else []
    notes += ["a plus before its amounts, and samples of it have none"] if any("+" in (p[2], p[4]) for p in found) else []
    notes += ["a longer sign for a minus, and samples of it have a hyphen"] if odd and not behind else []
    notes += ["letters for thousands and millions, and samples of it are written out"] if times else []
    negative = [bool(part[1]) or part[7] == "-" or bool({*MINUS} & {part[2], part[4]}) for part in found]
    amounts = [Decimal(text) * by for text, by in zip(plain, times or [1] * len(plain), strict=True)]
    whole = all(amount == int(amount) for amount in amounts) and (bool(times) or all(map(str.isdecimal, plain)))
    kind: type = int if whole else float
    return Amounts([-kind(amount) if minus else kind(amount) for amount, minus in zip(amounts, negative, strict=True)], notes)


def _has_decimal_commas(digits: Sequence[str], plain: Sequence[str]) -> bool:
    """Return whether a comma in some of the digits is the point of the number that they are read as."""
    return any("," in text and "." in read for text, read in zip(digits, plain, strict=True) if "." not in text)


def _unit(found: Sequence[re.Match[str]]) -> tuple[str | None, list[int]]:
    """Return the unit of all amounts, None where there are several, and what letters such as K and M multiply each by."""
    before, after = {part[3].strip() for part in found}, {part[6] for part in found}
    if len(before) == len(after) == 1:
        return before.pop() + after.pop(), []
    if len(before) > 1 or len(found) < FEWEST or not after <= TIMES.keys():
        return None, []
    return before.pop(), [TIMES[part[6]] for part in found]


def _without_marks(digits: Sequence[str], apart: bool, decimal: bool, numeric: bool) -> list[str] | None:
    """Return digits without marks of thousands and with a decimal point; None where the marks are none of thousands."""
    if apart:  # equally many digits everywhere are those of telephone numbers
        if (len({len(text) for text in digits}) == 1 and not numeric) or not all(re.match(APART, text) for text in digits):
            return None
        return [re.sub(rf"[{BLANKS}'’]", "", text).replace(",", ".") for text in digits]
    for pattern, mark in ((COMMA, "."), (POINT, ",")) if decimal else ((POINT, ","), (COMMA, ".")):
        if all(re.match(pattern, text) for text in digits):
            return [text.replace(mark, "").replace(",", ".") for text in digits]
    return None

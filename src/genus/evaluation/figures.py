"""Numbers as text: with their errors, thousands apart, and a true minus sign."""

from __future__ import annotations

import math

from genus.evaluation.results import Row

__all__ = ["density_text", "number", "paired", "percent", "plus_minus", "share_text"]


def density_text(row: Row) -> str:
    """Return the log-density with its standard error; a dash without one."""
    return plus_minus(row.log_density, row.log_density_se) if row.has_density else "–"


def plus_minus(value: float | None, se: float | None = None) -> str:
    """Return a number and its standard error, to the error's first digit, or its second where the first is 1.

    >>> plus_minus(-12.3456, 0.213)
    '−12.3 ± 0.2'
    """
    if value is None or not math.isfinite(value):
        return "–"
    if not se or not math.isfinite(se):
        return number(value)
    exponent = math.floor(math.log10(se))
    decimals = min(6, max(0, -exponent + (se / 10.0**exponent < 1.95)))
    return f"{_signed(value, decimals)} ± {se:.{decimals}f}"


def number(value: float | None, decimals: int | None = None) -> str:
    """Return a number as text, with a true minus sign and thousands apart, to three or four digits or to `decimals`."""
    if value is None or not math.isfinite(value):
        return "–"
    if decimals is None:
        decimals = 0 if abs(value) >= 1000 else 1 if abs(value) >= 100 else 2 if abs(value) >= 1 or value == 0 else 3
    return _signed(value, decimals)


def _signed(value: float, decimals: int) -> str:
    return f"{value:,.{decimals}f}".replace("-", "−")


def paired(gap: float | None, se: float | None) -> str:
    """Return a difference with its sign and its error."""
    text = plus_minus(gap, se)
    return text if gap is None or gap < 0 else f"+{text}"


def percent(share: float, decimals: int = 0) -> str:
    """Return a share as text in percent.

    >>> percent(0.25), percent(0.0123, 1)
    ('25 %', '1.2 %')
    """
    return f"{100 * share:.{decimals}f} %"


def share_text(share: float) -> str:
    """Return a share as text in percent, to one digit where it is small.

    >>> share_text(0.5), share_text(0.0123), share_text(0.00001), share_text(0.0)
    ('50 %', '1.2 %', 'under 0.1 %', '0 %')
    """
    if 0 < share < 0.0005:
        return "under 0.1 %"
    return percent(share, 1 if 0 < share < 0.1 else 0)

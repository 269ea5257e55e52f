"""Run the pages of the tour."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import genus.tour.chapters  # noqa: F401 - importing the chapters registers their pages
from genus.errors import GenusError
from genus.random import isolated
from genus.tour.pages import Number, Page, Picture, registered_pages
from genus.tour.results import PageResult, Tour

__all__ = ["run_pages"]


def run_pages(only: Sequence[str] | None = None, seed: int = 0, progress: Callable[[str], None] | None = None) -> Tour:
    """Run pages of the tour.

    Args:
        only: the names of the pages to run; by default all are run.
        seed: the same seed gives the same numbers.
        progress: a function that is called with a line of text when a page is done.

    Returns:
        The results, page by page.

    Raises:
        GenusError: there is no page of one of the names.
    """
    pages = registered_pages()
    for name in only or ():
        if name not in pages:
            raise GenusError(f"There is no page {name!r}; there are {', '.join(pages)}.")
    results = []
    for page in [pages[name] for name in only] if only else pages.values():
        results.append(_run_page(page, seed))
        if progress is not None:
            progress(f"{'✓' if results[-1].right else '✗'} {page.title} ({results[-1].seconds:.1f} s)")
    return Tour(results, seed)


def _run_page(page: Page, seed: int) -> PageResult:
    begin = time.perf_counter()
    with isolated(seed):
        items = list(page.run(seed))
    numbers = [item for item in items if isinstance(item, Number)]
    pictures = [item for item in items if isinstance(item, Picture)]
    return PageResult(page, numbers, pictures, time.perf_counter() - begin)

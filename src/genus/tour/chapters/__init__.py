"""The chapters, in the order of the tour. A new page is a function in one of them, or a module of its own, named here."""

from genus.tour.chapters import models, tractable, approximate, implicit, distances  # noqa: I001

__all__ = ["approximate", "distances", "implicit", "models", "tractable"]

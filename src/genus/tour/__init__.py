"""The theory made executable: pages of formulas, pictures, and numbers from real runs beside what they should be.

A page is one function; see `page`. `genus tour` runs them all and fails where a number is off.
"""

from genus.tour.core import Number, Page, Picture, Tour, Visit, page, pages, picture, visit

__all__ = ["Number", "Page", "Picture", "Tour", "Visit", "page", "pages", "picture", "visit"]

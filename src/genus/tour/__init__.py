"""The theory made executable: pages of formulas, pictures, and numbers from real runs beside the values of the theory.

A page is one function; see `page`. `genus tour` runs all pages and fails where a number is off.
"""

from genus.tour.html import write_html
from genus.tour.pages import Number, Page, Picture, page, picture, registered_pages
from genus.tour.results import PageResult, Tour
from genus.tour.run import run_pages

__all__ = ["Number", "Page", "PageResult", "Picture", "Tour", "page", "picture", "registered_pages", "run_pages", "write_html"]

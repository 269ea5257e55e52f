"""The kinds that one coordinate can have, a file for each: base measure, states, how it is measured from values, JSON."""

from genus.kinds.base import Kind, Level, kind_from_json
from genus.kinds.category import Category
from genus.kinds.charts import Chart
from genus.kinds.lattice import Lattice
from genus.kinds.real import Real
from genus.kinds.time import Time

__all__ = ["Category", "Chart", "Kind", "Lattice", "Level", "Real", "Time", "kind_from_json"]

"""The kinds of one coordinate, one file each: its base measure, its states, how it is measured, its JSON."""

from genus.kinds.base import Kind, Level, kind_from_json
from genus.kinds.category import Category
from genus.kinds.lattice import Lattice
from genus.kinds.real import Real

__all__ = ["Category", "Kind", "Lattice", "Level", "Real", "kind_from_json"]

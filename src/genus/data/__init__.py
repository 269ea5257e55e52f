"""Reading data: any source to a `Dataset`, the kind of every column measured."""

from genus.data.dataset import Dataset
from genus.data.reading import read
from genus.data.schema import Schema

__all__ = ["Dataset", "Schema", "read"]

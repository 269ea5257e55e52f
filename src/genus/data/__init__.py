"""Reading data: any source to a `Dataset`, the kind of every column measured."""

from genus.data.dataset import Dataset, read

__all__ = ["Dataset", "read"]

"""Metrics, the comparison of families, and its report."""

from genus.evaluation.comparison import compare
from genus.evaluation.metrics import METRICS, Metric, evaluate, independent_columns
from genus.evaluation.report import Report
from genus.evaluation.results import Results, Row

__all__ = ["METRICS", "Metric", "Report", "Results", "Row", "compare", "evaluate", "independent_columns"]

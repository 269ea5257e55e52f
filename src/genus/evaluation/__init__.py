"""Metrics, the comparison of families, the evaluation of samples, and the report of both."""

from genus.evaluation.comparison import compare
from genus.evaluation.findings import Finding
from genus.evaluation.metrics import METRICS, Metric, independent_columns, score_samples
from genus.evaluation.report import Report
from genus.evaluation.results import Results, Row
from genus.evaluation.samples import evaluate

__all__ = ["METRICS", "Finding", "Metric", "Report", "Results", "Row", "compare", "evaluate", "independent_columns",
           "score_samples"]  # fmt: skip

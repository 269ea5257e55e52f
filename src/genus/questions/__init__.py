"""The questions that people ask of a fitted model about a table of theirs."""

from genus.questions.calibration import Calibration, calibration_error
from genus.questions.conditional import ColumnGiven, column_given
from genus.questions.explanation import Explained, explain, surprise
from genus.questions.forecasting import Forecast, forecast
from genus.questions.imputation import Imputed, impute
from genus.questions.prediction import Predicted, predict

__all__ = [
    "Calibration",
    "ColumnGiven",
    "Explained",
    "Forecast",
    "Imputed",
    "Predicted",
    "calibration_error",
    "column_given",
    "explain",
    "forecast",
    "impute",
    "predict",
    "surprise",
]

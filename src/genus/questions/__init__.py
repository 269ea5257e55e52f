"""The questions that people ask of a fitted model about a table of theirs."""

from genus.ladder import Calibration
from genus.questions.blocks import impute_blocks, predict_blocks
from genus.questions.calibration import calibration_error
from genus.questions.conditional import ColumnGiven, column_given
from genus.questions.explanation import Explained, explain, surprise
from genus.questions.forecasting import Forecast, forecast, infill
from genus.questions.imputation import Imputed, impute
from genus.questions.nearby import Nearby, counterfactuals, interpolate
from genus.questions.prediction import Predicted, calibrate, predict
from genus.questions.shares import balanced_rows, rebalance, shares_of

__all__ = [
    "Calibration",
    "ColumnGiven",
    "Explained",
    "Forecast",
    "Imputed",
    "Nearby",
    "Predicted",
    "balanced_rows",
    "calibrate",
    "calibration_error",
    "column_given",
    "counterfactuals",
    "explain",
    "forecast",
    "impute",
    "impute_blocks",
    "infill",
    "interpolate",
    "predict",
    "predict_blocks",
    "rebalance",
    "shares_of",
    "surprise",
]

"""The questions that people ask of a fitted model about a table of theirs."""

from genus.questions.imputation import Imputed, impute

__all__ = ["Imputed", "impute"]

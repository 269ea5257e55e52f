"""Give estimators `transform`: the codes of latent-variable models, and the z of flows."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from genus.ladder import GenerativeModel, map_batches
from genus.models import Dequantised
from genus.models.flow import NormalisingFlow
from genus.models.latent import LatentVariable
from genus.sklearn.names import known_family

__all__ = ["GivesCodes", "has_code"]


def has_code(self: Any) -> bool:
    """Return whether an estimator's family has a code; raise AttributeError, which hides `transform`, where it has none."""
    known = known_family(self.family)
    if known is None or not issubclass(known, LatentVariable | NormalisingFlow):
        raise AttributeError(f"The family {self.family!r} has no code; families of flows and autoencoders do.")
    return True


class GivesCodes(ClassNamePrefixFeaturesOutMixin, TransformerMixin):
    """Give an estimator `transform`, where its family has codes.

    A code is what a latent-variable model or a flow maps a row to: the mean of q(z | x), or z. A subclass has `family`,
    `model_`, `_encoded(X)` of `ReadsTables`, and `_likeliest(x)`, the likeliest labels as a context (n, 1), or None.
    """

    family: str
    model_: GenerativeModel

    def transform(self, X: Any) -> np.ndarray:
        """Return the code of every row: the middle of q(z | x), or of a flow its z, normal where x is as in training.

        Args:
            X: (n, d). Whole numbers are taken in the middle of their cells.

        Returns:
            (n, k); NaN where a number of a flow is absent. Where fitted with labels, the code is that given the likeliest one.
        """
        check_is_fitted(self)
        x, _ = self._encoded(X)
        with torch.no_grad():
            codes = map_batches(self._codes, x, self._likeliest(x))
        return codes.double().cpu().numpy()

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> np.ndarray:
        """Fit, and return the codes (n, k) of the rows of X (n, d)."""
        return self.fit(X, y, **fit_params).transform(X)

    def _codes(self, x: Tensor, c: Tensor | None) -> Tensor:
        """Return the codes (n, k) of encoded rows x (n, *shape)."""
        coder = self._coder
        return coder.to_base(x, c)[0] if isinstance(coder, NormalisingFlow) else coder.encode(x, c)

    @property
    def _coder(self) -> NormalisingFlow | LatentVariable:
        """Return the model that has the codes: of a dequantised model the one inside."""
        model = self.model_
        return cast(NormalisingFlow | LatentVariable, model.model if isinstance(model, Dequantised) else model)

    @property
    def _n_features_out(self) -> int:
        coder = self._coder
        return coder.dim if isinstance(coder, NormalisingFlow) else coder.latent


# scikit-learn wraps the methods for `set_output` while the class is made, and takes plain functions alone.
for _name in ("transform", "fit_transform", "get_feature_names_out"):
    setattr(GivesCodes, _name, available_if(has_code)(getattr(GivesCodes, _name)))

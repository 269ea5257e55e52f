"""Parallel WaveNet: an inverse autoregressive flow over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from genus.errors import GenusError
from genus.models.flow import NormalisingFlow
from genus.space import Real, Space
from genus.transforms import Causal, Inverse, Predicted

__all__ = ["NoiseSteps", "ParallelWaveNet"]


class NoiseSteps(NamedTuple):
    """Holds sequences x (B, T), and loc and log_scale (B, T) of the normal from which each x_t was drawn, standardised.

    The normal of x_t is the conditional on the noise at times before t.
    """

    x: Tensor
    loc: Tensor
    log_scale: Tensor


class ParallelWaveNet(NormalisingFlow, name="parallel-wavenet"):
    """Compose flows x_t = m_t(z_1 ... z_{t-1}) + z_t exp(s_t(z_1 ... z_{t-1})) by dilated causal convolutions.

    See van den Oord et al. 2018, arXiv:1711.10433; with normals, Ping et al. 2019, arXiv:1807.07281. A sequence of any length
    is drawn in one pass. Its density is exact but takes a step for every position, too slow to train by: this model is a
    student of a WaveNet on real numbers (`genus.distill`).

    Args:
        width: the width of every layer.
        layers: the number of layers of each flow; the last of n layers looks 2^(n - 1) positions back.
        frame: the number of positions that share learned features of where they are, as those of `WaveNet`; 0 for none.
        taps: the elements from which the next is predicted linearly, as by `WaveNet`: noise then goes through the flows and the
            filters of the frames. 0 for none.

    >>> space = Space(Real(0.0, 0.1), shape=(100,), sequence=True)
    >>> model = ParallelWaveNet(space, width=8, layers=(3, 3))
    >>> model.sample(2, seed=0).shape
    torch.Size([2, 100])
    """

    # maximum likelihood, as every family is trained in a comparison, would take it hours
    info = NormalisingFlow.info.replace(
        title="inverse autoregressive flow over time",
        takes="sound as real numbers, and other sequences of them",
        sequences=True,
        listed=False,
    )

    def __init__(
        self,
        space: Space,
        context: Space | None = None,
        width: int = 32,
        layers: Sequence[int] = (10, 10, 10, 10),
        frame: int = 0,
        taps: int = 0,
    ) -> None:
        super().__init__(space, context)
        if min(width, *layers, len(layers)) < 1:
            raise GenusError(f"width and layers must be 1 or more; got {width} and {list(layers)}.")
        if min(frame, taps) < 0 or (taps and not frame):
            raise GenusError(
                f"frame must be a number of positions, and taps, with frames, of elements; got {frame} and {taps}."
            )
        predicted = [Predicted(taps, space.dim, frame, self.context_dim)] if taps else []
        self._compose(
            predicted + [Inverse(Causal(width, n, context_dim=self.context_dim, frame=frame, length=space.dim)) for n in layers]
        )

    def _check_transforms(self) -> None:
        """Try nothing: its transforms fit sequences of any length, and a pass over a long one makes more than its weights."""

    @classmethod
    def limits(cls, space: Space, context: Space | None = None) -> str | None:
        if not space.sequence:
            return "it models sequences in time, and these are rows of columns or pixels"
        if not isinstance(space.kinds[0], Real) or space.kinds[0].states > 1:
            return f"it is a density over sequences of real numbers of one length, and the elements are {space.kinds[0]!r}"
        return None

    def _draw_steps(self, n: int, c: Tensor | None, length: int | None = None) -> NoiseSteps:
        """Draw n sequences, or so many of their first elements.

        Every flow is affine in z_t, so their composition is: x_t is normal, given the noise before it.
        """
        noise = self.base.sample(n, self.real_columns)[:, :length].to(self.dtype)
        features, u, log_scale = self._context_features(c), noise, noise.new_zeros(noise.shape)
        for one in reversed(self.transform.transforms):
            if isinstance(one, Predicted):
                u, log_slope = one.drawn(u, features)
            else:
                u, log_slope = one.transform.elementwise(u, features)  # type: ignore[union-attr, operator]
            log_scale = log_scale + log_slope
        return NoiseSteps(self._join_parts(u, None), u - noise * log_scale.exp(), log_scale)

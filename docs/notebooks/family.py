# %% [markdown]
# # A family of one's own, in one cell
#
# `ContinuousDensity` asks for two methods over standard numbers u; units, atoms, categories and blanks come from it.

# %%
import torch
from torch import nn

import genus


class Laplace(genus.ContinuousDensity, name="notebook-laplace"):
    """Independent Laplace columns."""

    def __init__(self, space, context=None):
        super().__init__(space, context)
        self.log_scale = nn.Parameter(torch.zeros(self.dim))

    def _log_density(self, u, features):
        return (-(u.abs() / self.log_scale.exp()) - self.log_scale - 0.6931).sum(1)

    def _draw(self, n, features):
        return torch.distributions.Laplace(0.0, self.log_scale.exp()).sample((n,))


space = genus.Space([genus.Real(1.0, 2.0), genus.Real()])
x = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
genus.testing.check_model(Laplace(space), x)

# %% [markdown]
# The laws hold: files, samples, rows, density, gradients. Now it trains, compares, saves and loads like every other family.

# %%
model = Laplace(space)
genus.fit(model, x, max_steps=200, seed=0, progress=False)

"""A small diffusion model: a family whose log-density is bounded by noise that is drawn.

An `ApproximateDensity` gives `_elbo(x, c)`, (B,) in nats, and `_sample(n, c)`. Each call of `_elbo` must be one draw of the
log of an importance weight: log p(x, z) - log q(z | x), z drawn from q anew. Then the mean of draws is a lower bound of
log p(x), and the log of the mean of exp of many draws, which `log_evidence` takes, is an estimate of log p(x) itself that
tightens from below. A quantity that is equal on average only does not do: the usual loss of diffusion models, one random step
times the number of steps, has the same mean, but the mean of its exp is not p(x), and the mass of such an "evidence" exceeds 1.
`check_model`'s law "bound" finds that out. (As a loss it is welcome: override `losses()`.)

Here z is the whole path z_1 ... z_T from the datum z_0 = u to noise (Sohl-Dickstein et al. 2015, arXiv:1503.03585; Ho et al.
2020, arXiv:2006.11239). q adds noise, z_t = sqrt(1 - b_t) z_(t-1) + sqrt(b_t) e; p takes it off again, by a net that guesses
u from z_t:

    log weight = log p(z_T) + sum_t log p(z_(t-1) | z_t) - sum_t log q(z_t | z_(t-1))

`space.split(x)` gives standardised numbers u and log|du/dx|, which makes nats in the data's units of nats of u;
`space.join` takes u back to data.

    python examples/diffusion.py
"""

import torch
from torch import nn
from torch.distributions import Normal

import genus


class Diffusion(genus.ApproximateDensity, name="diffusion"):
    """Turn real columns into noise in a few steps, and learn every step back."""

    info = genus.ApproximateDensity.info.replace(title="diffusion", group="latent variables", takes="tables of real columns")

    def __init__(self, space, context=None, steps: int = 12, hidden: int = 64):
        super().__init__(space, context)
        self.register_buffer("b", torch.linspace(0.02, 0.6, steps))  # the share of noise that a step adds
        self.register_buffer("kept", (1 - self.b).cumprod(0))  # of the datum's variance, after every step
        self.net = nn.Sequential(
            nn.Linear(space.dim + 1 + self.context_dim, hidden), nn.SiLU(),
            nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, space.dim),
        )  # fmt: skip
        self.log_scale = nn.Parameter(0.5 * self.b.log()[:, None].expand(steps, space.dim).clone())

    @classmethod
    def limits(cls, space, context=None):
        plain = all(isinstance(kind, genus.Real) and kind.states == 1 for kind in space.kinds)
        return None if plain else "it is for columns of real numbers without atoms or missing values"

    def _back(self, z, t, features):
        """Return p(z_(t-1) | z_t) for z (B, D) at steps t (B,), counted from 0."""
        kept, b = self.kept[t][:, None], self.b[t][:, None]
        parts = [z, t[:, None] / len(self.b), *([] if features is None else [features])]
        guess = z + self.net(torch.cat(parts, dim=1))  # of u
        before = kept / (1 - b)  # of the datum's variance, a step earlier
        share = before.sqrt() * b / (1 - kept)
        return Normal(share * guess + (1 - b).sqrt() * (1 - before) / (1 - kept) * z, self.log_scale[t].exp())

    def _elbo(self, x, c):
        parts, features = self.space.split(x), self._context_features(c)
        z, steps = parts.u.to(self.dtype), len(self.b)
        log_weight = parts.log_slope.to(self.dtype).sum(1)
        for i in range(steps):
            forth = Normal((1 - self.b[i]).sqrt() * z, self.b[i].sqrt())
            after = forth.sample()
            back = self._back(after, torch.full((len(x),), i), features)
            log_weight = log_weight + (back.log_prob(z) - forth.log_prob(after)).sum(1)
            z = after
        return log_weight + Normal(0.0, 1.0).log_prob(z).sum(1)

    def _sample(self, n, c):
        z, features = torch.randn(n, self.space.dim), self._context_features(c)
        for i in reversed(range(len(self.b))):
            z = self._back(z, torch.full((n,), i), features).sample()
        return self.space.join(torch.zeros_like(z, dtype=torch.long), z)


def main(steps: int = 400) -> None:
    angle = torch.rand(2000, generator=torch.Generator().manual_seed(0)) * 2 * torch.pi
    x = torch.stack([10 * angle.cos(), angle.sin()], dim=1) + 0.1 * torch.randn(2000, 2)  # an ellipse
    data = genus.read(x)
    train, test = data.split(test=0.2, seed=0)
    model = Diffusion(data.space)
    genus.fit(model, train, max_steps=steps, learning_rate=2e-3, seed=0, progress=False)
    print("laws that hold:", ", ".join(genus.testing.check_model(model, test.x[:50])))
    print(f"bound of new rows:                {model.elbo(test.x, seed=0).mean():.2f} nats a row")
    print(f"evidence by 64 weights:           {model.log_evidence(test.x, seed=0).mean():.2f} nats a row")
    print(f"a normal distribution, as a peer: {peer(train, test):.2f} nats a row")


def peer(train, test) -> float:
    return torch.distributions.MultivariateNormal(train.x.mean(0), train.x.T.cov()).log_prob(test.x).mean().item()


if __name__ == "__main__":
    main()

"""A variational autoencoder with an encoder and a decoder of your own, saved and loaded.

`model.replace(encoder=..., decoder=...)` puts any `nn.Module` in. The encoder maps features of the data and of the context
(B, space.feature_dim + context_dim) to what the posterior needs (B, model.code_width); the decoder maps a code and the
context's features (B, latent + context_dim) to the parameters of the distributions of all columns (B, model.head.width).
A net of another shape is refused in a sentence. Nothing else changes: the bound, its labels, imputation, walks along the code.

A file holds numbers and JSON, no code. So a model with nets put in by hand is loaded into one that has the same nets:
`genus.load(path, into=model)`. To have files that need no `into=`, make a family: a subclass whose constructor calls
`replace`.

    python examples/vae_with_own_nets.py
"""

import tempfile
from pathlib import Path

import torch
from torch import nn

import genus


class Block(nn.Module):
    """Add a dense layer's output to its input."""

    def __init__(self, width):
        super().__init__()
        self.net = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, x):
        return x + self.net(x)


def residual(inputs: int, width: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, width), Block(width), Block(width), nn.Linear(width, outputs))


def vae(space) -> genus.VAE:
    """Return a VAE with residual nets."""
    model = genus.VAE(space, latent=8, hidden=())
    model.replace(
        encoder=residual(space.feature_dim, 96, model.code_width),
        decoder=residual(model.latent, 96, model.head.width),
    )
    return model


def main(steps: int = 300) -> None:
    digits = genus.read("digits")
    train, test = digits.split(test=0.2, seed=0)
    model = vae(digits.space)
    genus.fit(model, train, max_steps=steps, seed=0, progress=False)
    print(f"bound of new digits: {model.elbo(test.x, seed=0).mean():.1f} nats each")
    print(f"units of the code that are used: {model.use(test.x).active} of {model.latent}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digits.genus"
        genus.save(model, path)
        again = genus.load(path, into=vae(digits.space))
    print("loaded, it draws the same:", torch.equal(again.sample(5, seed=0), model.sample(5, seed=0)))


if __name__ == "__main__":
    main()

"""A family of your own over tables of real numbers: independent Laplace columns.

`genus.ContinuousDensity` asks for two methods. `_log_density(u, features)` returns the log-density (B,) in nats of rows
u (B, D): the numbers of the real columns, standardised, so that the data have mean 0 and width 1 whatever their units are.
`_draw(n, features)` returns n draws of u, (n, D). `features` are those of the context and of categories, None where there are
neither. The class brings the rest: the Jacobian of the units, so that log-densities are nats in the units of your data;
categories beside the numbers; training, files, `genus.compare`, the command line. Its constructor takes the space and the
context of the data and hands them on; what else it takes is kept, and written into files.

    python examples/toy_family.py
    genus --import examples/toy_family.py fit iris --family laplace --out iris.genus
"""

import math

import torch
from torch import nn

import genus


class Laplace(genus.ContinuousDensity, name="laplace"):
    """Independent Laplace columns about trained centres, all of one width."""

    def __init__(self, space, context=None, width: float = 1.0):
        super().__init__(space, context)
        self.width, self.centre = width, nn.Parameter(torch.zeros(self.dim))

    def _log_density(self, u, features):
        return (-(u - self.centre).abs() / self.width - math.log(2 * self.width)).sum(1)

    def _draw(self, n, features):
        return self.centre + torch.distributions.Laplace(0.0, self.width).sample((n, self.dim))


def main(steps: int = 200) -> None:
    data = genus.read(torch.distributions.Laplace(torch.tensor([5.0, -300.0]), torch.tensor([1.0, 40.0])).sample((1000,)))
    train, test = data.split(test=0.2, seed=0)
    model = Laplace(data.space, width=0.7)
    print("laws that hold:", ", ".join(genus.testing.check_model(model, test.x)))
    genus.fit(model, train, max_steps=steps, seed=0, progress=False)
    print(f"log-density of new rows: {model.log_prob(test.x).mean():.2f} nats a row")
    print(f"three draws, in the data's units:\n{model.sample(3, seed=0)}")


if __name__ == "__main__":
    main()

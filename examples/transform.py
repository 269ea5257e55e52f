"""A bijection of your own, in a flow: z = asinh(a x) / a makes long tails short ones.

A `Transform` is two methods, each of which returns what it maps to and the logarithm of the size of its Jacobian, (B,):
`forward(x, c)` from data to noise, `inverse(z, c)` back. c are features of the context (B, context_dim), None without one.
What the constructor takes must be JSON values, maps or other transforms; it is kept, so that a file gives the model back.
A flow is a list of transforms: `genus.Flow(space, transforms=[...])` is trained, compared and saved like every other family.

`genus.testing.check_transform` holds it to its laws in double precision: the two undo each other; the log-determinant is that
of the Jacobian that autograd finds; gradients are those of finite differences; files give it back.

    python examples/transform.py
"""

import torch

import genus
from genus.transforms import MaskedAutoregressive, Transform


class Asinh(Transform):
    """z = asinh(a x) / a, number by number."""

    allow_missing = True  # NaN, a number that is missing, stays NaN, and no other number sees it

    def __init__(self, a: float = 1.0):
        super().__init__()
        self.a = a

    def forward(self, x, c=None):
        return torch.asinh(self.a * x) / self.a, -0.5 * torch.log1p((self.a * x) ** 2).nansum(1)

    def inverse(self, z, c=None):
        return torch.sinh(self.a * z) / self.a, torch.log(torch.cosh(self.a * z)).nansum(1)


def main(steps: int = 300) -> None:
    x = torch.distributions.StudentT(2.0).sample((2000, 2))  # tails so long that their variance is infinite
    print("laws that hold:", ", ".join(genus.testing.check_transform(Asinh(2.0), torch.randn(20, 2))))
    data = genus.read(x)
    train, test = data.split(test=0.2, seed=0)
    for name, first in {"without": [], "with": [Asinh(4.0)]}.items():
        flow = genus.Flow(data.space, transforms=[*first, MaskedAutoregressive(2, (32,))])
        genus.fit(flow, train, max_steps=steps, seed=0, progress=False)
        print(f"{name} it: {flow.log_prob(test.x).mean():.2f} nats a row")


if __name__ == "__main__":
    main()

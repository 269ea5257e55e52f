"""A family of the chain rule by a net of your own: p(x) = p(x_1) p(x_2 | x_1) ... over text, sound or tables.

The net is the only thing to write. A `CausalNet` maps tokens (B, P, width) to outputs of the same shape, and says it twice:
`parallel` for all positions in one pass, from which training and densities come, and `empty` and `advance` step by step, from
which samples come. Output i may depend on tokens up to and with i; the class shifts them by one position, so that no symbol
is seen by its own prediction. `genus.testing.check_model` holds the two to each other ("steps") and looks for outputs that see
what comes later ("causality").

`Autoregressive` brings the rest: tokens in and distributions out for every kind of column, prompts, temperature, streaming,
ends of documents, rows of tables in any order. `_tokens_and_outputs(width, components)` makes what stands before and after
the net.

    python examples/chain_rule_family.py
"""

import torch
from torch import nn

import genus
from genus.models.autoregressive import Autoregressive
from genus.nets.causal import CausalNet


class FadingMemory(CausalNet):
    """Remember the past as averages that fade, h_t = a h_(t-1) + (1 - a) token_t, at a trained speed in every channel."""

    def __init__(self, width, context_dim=0):
        super().__init__(width, context_dim)
        self.speed = nn.Parameter(torch.linspace(-4.0, 4.0, width))  # a = sigmoid(speed): from one step to some fifty
        self.read = nn.Sequential(nn.Linear(2 * width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def parallel(self, tokens, c):  # (B, P, width) -> (B, P, width)
        state, outputs = self.empty(len(tokens), c), []
        for token in tokens.unbind(1):
            output, state = self.advance(state, token)
            outputs.append(output)
        return torch.stack(outputs, dim=1)

    def empty(self, batch, c):
        return torch.zeros(batch, self.width, dtype=self.speed.dtype, device=self.speed.device)

    def advance(self, state, token):  # (B, width), (B, width) -> output (B, width), state
        state = token + self.speed.sigmoid() * (state - token)
        return self.read(torch.cat([token, state], dim=1)), state


class Fading(Autoregressive, name="fading"):
    """Predict every symbol from the last one and from fading averages of those before."""

    info = Autoregressive.info.replace(title="fading memory", group="chain rule", takes="text, sound, any table or image")

    def __init__(self, space, context=None, width: int = 64, components: int = 5, order=None):
        super().__init__(space, context, order)
        self._tokens_and_outputs(width, components, size=1.0)
        self.net = FadingMemory(width, self.context_dim)


def main(steps: int = 150) -> None:
    text = genus.read("topics")  # Python's own help: one long text, in blocks of 256 characters
    train, held = text.split(test=0.1)
    model = Fading(text.space)
    print("laws that hold:", ", ".join(genus.testing.check_model(model, held.x[:20, :40])))
    genus.fit(model, train, max_steps=steps, batch_size=16, seed=0, validation=None, progress=False)
    print(f"new text: {-model.log_conditionals(held.x[:50]).mean() / genus.divergences.BITS:.2f} bits a character")
    print(repr(text.decode(model.sample(prefix="The ", length=60, temperature=0.7, seed=0))[0]))

    table = genus.read("iris")
    rows = Fading(table.space, order=[4, 0, 1, 2, 3])  # the species first
    genus.fit(rows, table, max_steps=steps, seed=0, progress=False)
    print(table.decode(rows.sample(2, seed=0)).to_pylist())


if __name__ == "__main__":
    main()

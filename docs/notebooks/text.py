# %% [markdown]
# # Text: counts first, nets with patience
#
# A Markov chain counts which letter follows which six; it needs no training loop, and says exactly how likely a text is.

# %%
import torch

import genus

data = genus.read("topics")
train, held_out = data.split(test=0.1, seed=0)
model = genus.MarkovChain(data.space, order=6)
genus.fit(model, train, progress=False)
with torch.no_grad():
    print(f"{-model.log_prob(held_out.x).mean() / data.space.dim:.3f} nats a letter")
print(model.decode(model.sample(2, seed=0))[0])

# %% [markdown]
# While it reads on, it can learn: *online* numbers are another thing than frozen ones, and are never mixed with them.

# %%
with torch.no_grad():
    print(f"{-model.log_prob_online(held_out.x).mean() / data.space.dim:.3f} nats a letter, online")

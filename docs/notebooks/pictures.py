# %% [markdown]
# # Pictures by label
#
# A variational autoencoder of the 8 × 8 digits, given their label. `log_evidence` estimates its log-density by
# importance samples.

# %%
import matplotlib.pyplot as plt
import torch

import genus

data = genus.read("digits", context="label")
train, held_out = data.split(test=0.1, seed=0)
model = genus.build("vae", data.space, data.context)
genus.fit(model, train, max_seconds=20, seed=0, progress=False)

# %%
with torch.no_grad():
    bound = model.elbo(held_out.x, held_out.c, seed=0).mean()
    estimate = model.log_evidence(held_out.x, held_out.c, samples=64, seed=0).mean()
print(f"bound {bound:.1f} nats a picture, estimate {estimate:.1f}")

# %%
labels = torch.arange(10.0)[:, None]
figure, axes = plt.subplots(3, 10, figsize=(8, 2.6))
for seed, row in enumerate(axes):
    for axis, picture in zip(row, model.sample(10, labels, seed=seed)):
        axis.imshow(picture, cmap="gray_r")
        axis.axis("off")

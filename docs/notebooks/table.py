# %% [markdown]
# # A table: which family is best, and by how much
#
# Wine cultivars and thirteen chemical measurements: 178 rows. `genus.read` measures what every column is.

# %%
import genus

data = genus.read("wine")
print(data)

# %% [markdown]
# `compare` fits each family to the same training rows and scores the same held-out rows. With so few of them it says so.

# %%
report = genus.compare(data, ["naive-bayes", "mixture", "trees", "maf"], budget=4, seeds=1, progress=False)
print(report)

# %% [markdown]
# Fit one family to all rows, and draw.

# %%
model = genus.Mixture(data.space)
genus.fit(model, data, seed=0, progress=False)
data.decode(model.sample(5, seed=0))

# %% [markdown]
# # Gaps, conditions, predictions, oddities: one joint density answers them all
#
# A tenth of the cells of iris are blanked; a mixture learns from what is left.

# %%
import numpy as np
from sklearn.datasets import load_iris

import genus

# 0, 1 and 2 are kinds of flowers, not numbers to be between.
frame = load_iris(as_frame=True).frame
holes = np.random.default_rng(0).random(frame.shape) < 0.1
blanked = frame.mask(holes)
data = genus.read(blanked, kinds={"target": "category"})
model = genus.Mixture(data.space)
genus.fit(model, data, seed=0, progress=False)
print(data)

# %% [markdown]
# Fill the gaps: every draw is one of many possible values, and a summary says how sure they are.

# %%
found = genus.impute(model, blanked, times=20, seed=0)
found.summary().to_pandas().head()

# %% [markdown]
# Rows of which something is known, and the kind of flower from the rest.

# %%
data.decode(model.sample(4, where={"target": 2, "petal length (cm)": (5.0, 6.0)}, seed=0))

# %%
genus.predict(model, frame.head(3).drop(columns="target"), "target").table(probabilities=True).to_pandas()

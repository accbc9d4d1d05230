"""The words of the page that do not depend on results."""

HEAD = """# What follows for training

Spectra are measured because they are thought to matter for training. This page holds published findings of that kind
against measurements: where the curvature settles that SGD meets, whether learning happens in the leading subspace,
how fast that turns and whether its eigengap holds it, on how many coordinates eigenvectors sit, and how unlike the
blocks of a network are.

Made by `studies/consequences/page.py` from the results beside it, measured by `python -m studies.consequences.run`.
The rules of the table of claims (`studies/consequences/rules.py`) were written, and committed, before any result was
looked at.

## On your own run

Each measurement is a function of `gl.dynamics` ([API](api/gradlaw.dynamics.md)).

```python
import torch
import gradlaw as gl

digits = gl.load_data("digits")
model = gl.build_model("fcn-relu", digits.sample_shape, digits.classes)
gl.train(model, torch.nn.functional.cross_entropy, digits, recipe=gl.Recipe(epochs=1, batch_size=10))
problem = gl.Problem(model, torch.nn.functional.cross_entropy, digits)

# Where training is, beside 2 / eta: batch sharpness, largest eigenvalue, noise along its eigenvector.
edge = gl.dynamics.edge_of_stability(problem, batch_size=10, learning_rate=0.1, minibatches=50)
print(edge)

# The leading subspace of the Hessian: how much of a step is in it, and what that part does to the loss.
pairs = gl.hessian_spectrum(problem, k=11, tol=1e-3, keep_vectors=True)
leading = gl.dynamics.Subspace(pairs, k=10)
step = -0.1 * gl.collect(problem, iterations=2, batch_size=10).gradients[0]
progress = gl.dynamics.subspace_progress(problem, leading, step)
print(0 <= progress.share <= 1, progress.loss > 0)

# Eigenvectors beside random ones.
ratios = gl.dynamics.participation_ratios(pairs, problem.layout)
print(ratios.to_frame().shape)
```

In a loop of your own, `leading.project_gradients(model.parameters(), keep="bulk")` between `loss.backward()` and
`optimizer.step()` makes Bulk-SGD of SGD. `gl.dynamics.subspace_rotation` sets the angles between two checkpoints
beside the Davis-Kahan bound, and `gl.dynamics.block_distances(gl.curvature.block_densities(problem))` compares the
Hessian spectra of the weights.
"""
PUBLISHED = {
    "batch sharpness": "settles at 2 / eta, here 200 (Andreyev, Beneventano 2024)",
    "largest eigenvalue": "stays below the batch sharpness (the same)",
    "alignment": "||P g|| / ||g|| near 1 (Gur-Ari, Roberts, Dyer 2018; Song, Ahn, Yun 2025)",
    "Dom-SGD": "the training loss does not fall further (Song, Ahn, Yun 2025)",
    "Bulk-SGD": "as effective as SGD (the same)",
    "blocks": "CNNs nearly alike, transformers far apart (Zhang et al. 2024); their numbers depend on their bins",
}
RECIPES = """## The recipes, and what is assumed

- **Edge.** The command that the authors' code names in its README for this case: CIFAR-10, 8,192 samples, two hidden
  layers of 512 with ReLU, weights of He et al. times 0.2, no biases at the start, one-hot targets, squared error
  summed over the outputs, B = 8, eta = 0.01, shuffled epochs. As published but for: which samples; 61,440 steps where
  they allow 150,000; pictures that are re-encoded as JPEG; each channel is divided by its own deviation, where the
  loader of a public copy of their code divides by constants that make inputs 1.2 times as large; the largest
  eigenvalue is over 1,024 of the samples. Batch sharpness is the mean of the quotients, as in their code, over 300
  minibatches.
- **Subspaces.** "MLP on MNIST-5k" of Song, Ahn and Yun: two hidden layers with tanh, squared error, B = 50, eta =
  0.01, k = 10. Smaller: 500 samples for 5,000, width 32 for 200, 2,000 steps for 20,000, and the subspace is computed
  anew every 50 steps, not at each. They leave SGD when an average of the alignment passes 0.95; here it is left after
  1,000 steps. Assumed: squared error summed over the outputs, PyTorch's initialisation. They project on the Hessian's
  subspace alone; that of the covariance (200 minibatches) is ours.
- **Blocks.** Zhang et al. take GPT-2, BERT, ViT, ResNet18 and VGG16 on their data sets. Here a GPT of two blocks of
  width 32 on tiny Shakespeare, LeNet and a fully connected network on MNIST, at random initialisation; blocks are
  tensors, so that queries, keys and values are one. How their distances are binned is not known, so that the order of
  networks can be compared, and no number.
"""
LIMITS = """## What this shows, and what not

- One network, one loss and one learning rate for each of the first two experiments: a finding that holds here holds
  for these, and one that fails here may hold at the published size.
- Points of the edge that are missing in its table were not measured. That batch sharpness *stays* at 2 / eta rests on
  the points from epoch 30 on alone; the published runs are longer.
- The claims of *ours* are questions of this package, with thresholds that nobody published.
- Between two computations of the subspace it turns, by the angles of the table of rotation, and the projection does
  not follow. That leaves Bulk-SGD a little of the dominant directions and takes from Dom-SGD what it would find in
  new ones.
- A subspace of 200 minibatches is an estimate: its rotation holds sampling noise of both ends, and the bound covers
  it because its perturbation does.
- That Adam trains transformers better than SGD, which block heterogeneity is to explain, is not measured here.
"""

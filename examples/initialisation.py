"""How much the dimension-wise power-law rate of LeNet on MNIST depends on the random initialisation.

python examples/initialisation.py ylecun/mnist      # or a folder of Parquet files; under a minute
"""

import sys

import torch

import gradlaw as gl

data = gl.load_data(sys.argv[1] if len(sys.argv) > 1 else "ylecun/mnist")
print("B     seed  mean d_KS  published  calibrated")
for batch_size in (1, 10, 100):
    for seed in range(6):
        model = gl.build_model("lenet", data.sample_shape, data.classes, seed)
        problem = gl.Problem(model, torch.nn.functional.cross_entropy, data)
        history = gl.collect(problem, iterations=1000, batch_size=batch_size, seed=seed)
        tests = gl.gradient_tests(history, "dimension", gaussian_k=None)
        rates = f"{tests.power_law_rate:10.1%}  {tests.power_law_rate_calibrated:10.1%}"
        print(f"{batch_size:<5} {seed:<5} {tests.mean_d_ks:.4f}    {rates}")

"""What becomes of the power-law covariance of LeNet on MNIST while it is trained by the paper's recipe.

python examples/along_training.py ylecun/mnist      # or a folder of Parquet files; about five minutes
"""

import sys

from torch.nn.functional import cross_entropy

import gradlaw as gl
from gradlaw.training import Recipe

data = gl.load_data(sys.argv[1] if len(sys.argv) > 1 else "ylecun/mnist")
print("epochs  accuracy  B    s     d_KS    power law (calibrated)  Gaussian")
for epochs in (1, 3, 10, 20):  # the paper's recipe divides the learning rate after 20 for the first time
    model = gl.build_model("lenet", data.sample_shape, data.classes, seed=0)
    accuracy = gl.train(model, cross_entropy, data, recipe=Recipe(epochs=epochs)).training.accuracy
    problem = gl.Problem(model, cross_entropy, data)
    for batch_size in (1, 100):
        history = gl.collect(problem, iterations=5000, batch_size=batch_size)
        tests = gl.gradient_tests(history, "iteration")
        fit = gl.gradient_spectrum(history).power_law(1000)
        verdicts = f"{fit.is_power_law!s:>9} ({fit.is_power_law_calibrated!s:<5})"
        print(f"{epochs:<7} {accuracy:8.2%}  {batch_size:<4} {fit.s:.2f}  {fit.d_ks:.4f}  {verdicts:<22}  "
              f"{tests.gaussian_rate:8.1%}", flush=True)  # fmt: skip

"""The options of gradlaw analyze."""

import argparse

from gradlaw.choices import DTYPES, ENGINES
from gradlaw.cli.options.inputs import add_problem_options
from gradlaw.cli.options.output import add_json_and_quiet
from gradlaw.cli.options.values import seed, whole


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what ``gradlaw analyze`` takes."""
    parser.description = (
        "Collects the gradients of T minibatches at fixed parameters, tests them across parameters\n"
        "and across minibatches for power-law tails and Gaussianity, computes the spectra of their\n"
        "second moment and covariance, and writes tables, figures and report.html. Without anything to\n"
        "analyse: a demonstration, two hidden ReLU layers of 200 (fcn-relu), randomly initialised, on\n"
        "scikit-learn's 1,797 handwritten digits, with T = 1500."
    )
    parser.epilog = (
        "examples:\n"
        "  gradlaw analyze\n"
        "  gradlaw analyze --data ylecun/mnist --model lenet --batch-size 1\n"
        "  gradlaw analyze --checkpoint checkpoints/lenet-mnist.safetensors --data ylecun/mnist --batch-size 1\n"
        "  gradlaw analyze --problem mypackage.mymodule:make_problem --iterations 2000\n"
        "  gradlaw analyze --checkpoints 'runs/mine/step-*.pt' --problem mypackage.mymodule:make_problem\n"
        "  torchrun --nproc-per-node 4 -m gradlaw analyze --data ylecun/mnist --model lenet --batch-size 1"
    )
    parser.set_defaults(command="gradlaw.cli.analyze:run")
    what = parser.add_argument_group("what to analyse")
    add_problem_options(what)
    what.add_argument("--checkpoints", metavar="PATTERN", nargs="+", help="the same analysis at each of several "
                      "weights, such as 'runs/x/step-*.safetensors', by the numbers in their names; one that was "
                      "interrupted goes on")  # fmt: skip
    how = parser.add_argument_group("how")
    how.add_argument(
        "--batch-size", "-B", type=whole(), metavar="B", default=10, help="samples in a minibatch (default: 10)"
    )
    how.add_argument(
        "--iterations", "-T", type=whole(2), metavar="T", help="number of minibatches (default: 5000; 1500 in the "
        "demonstration)"
    )  # fmt: skip
    how.add_argument("--replacement", action="store_true", help="draw minibatches with replacement")
    how.add_argument("--k", "-K", type=whole(2), metavar="K", help="largest values in a power-law test (default: 1000, "
                     "and at most a third of a series or spectrum)")  # fmt: skip
    how.add_argument(
        "--gaussian-k", type=whole(), metavar="K", default=100, help="values in a Gaussian test (default: 100)"
    )
    how.add_argument("--alpha", type=float, metavar="ALPHA", default=0.05, help="significance level (default: 0.05)")
    how.add_argument("--seed", type=seed, metavar="SEED", default=0, help="seed of everything (default: 0)")
    how.add_argument("--transform", action="append", default=[], metavar="NAME[=VALUE]", help="what an optimiser would "
                     "make of the gradients, in its order: clip-norm=1.0, clip-value=0.1, weight-decay=5e-4, "
                     "momentum=0.9, adam (repeatable)")  # fmt: skip
    how.add_argument("--store", metavar="FOLDER", help="where to keep the gradients: memory, or a folder, which a "
                     "later run of the same problem and settings reads instead of collecting again (default: memory if "
                     "they take up to half of what is free and leave room for their spectra, else a temporary "
                     "folder)")  # fmt: skip
    how.add_argument("--sketch", type=whole(256), metavar="M", help="keep a sketch of M numbers of each gradient, a "
                     "power of two, where whole gradients do not fit: spectra are approximate, with their error, and "
                     "tests across iterations are left out")  # fmt: skip
    how.add_argument("--dtype", choices=DTYPES, help="type to store gradients in (default: the one they are computed "
                     "in); the error of a narrower one is stated")  # fmt: skip
    how.add_argument("--extended", action="store_true", help="also: layers, other tail indices and families, "
                     "Gaussianity on all iterations")  # fmt: skip
    how.add_argument("--controls", action="store_true", help="also: the covariance spectra of three kinds of noise of "
                     "the same shape, where there is nothing to find")  # fmt: skip
    how.add_argument("--engine", choices=ENGINES, default="auto", help="how gradients are computed (default: auto)")
    how.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: cpu, or where the model is); with torchrun "
                     "cuda is for each rank the GPU of its number")  # fmt: skip
    output = parser.add_argument_group("output")
    output.add_argument("--out", metavar="DIR", help="run directory (default: runs/ and a name made of the settings)")
    output.add_argument("--force", action="store_true", help="overwrite the run that the directory holds")
    add_json_and_quiet(output)

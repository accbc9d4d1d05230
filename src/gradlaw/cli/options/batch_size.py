"""The options of gradlaw batch-size."""

import argparse

from gradlaw.cli.options.inputs import add_problem_options
from gradlaw.cli.options.output import add_json_and_quiet
from gradlaw.cli.options.values import positive, seed, whole


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what ``gradlaw batch-size`` takes."""
    parser.description = (
        "Estimates the critical batch size, beyond which larger batches stop paying, of a model at fixed\n"
        "parameters: by layer and in all, with intervals, by several methods, and says when not to trust\n"
        "them. Batch size in use, optimiser and learning rate are those of a checkpoint of gradlaw train\n"
        "unless they are given."
    )
    parser.epilog = (
        "examples:\n"
        "  gradlaw batch-size --data mnist --model lenet\n"
        "  gradlaw batch-size --checkpoint runs/train-lenet-mnist-seed0\n"
        "  gradlaw batch-size --problem mypackage.mymodule:make_problem --in-use 256 --optimiser adamw"
    )
    parser.set_defaults(command="gradlaw.cli.batch_size:run")
    add_problem_options(parser.add_argument_group("what to measure"))
    how = parser.add_argument_group("how")
    how.add_argument("--batch-size", "-B", type=whole(), metavar="B", default=10, help="samples in a minibatch to "
                     "measure with (default: 10)")  # fmt: skip
    how.add_argument(
        "--iterations", "-T", type=whole(2), metavar="T", default=1000, help="number of minibatches (default: 1000)"
    )
    how.add_argument("--level", type=float, default=0.95, help="of the intervals (default: 0.95)")
    how.add_argument("--hessian-samples", type=whole(0), default=2000, metavar="N", help="samples that the Hessian is "
                     "of; 0 leaves the Hessian-weighted noise scale out (default: 2000)")  # fmt: skip
    how.add_argument("--seed", type=seed, metavar="SEED", default=0, help="of the minibatches (default: 0)")
    how.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: cpu, or where the model is)")
    training = parser.add_argument_group("the training, to compare with")
    training.add_argument("--in-use", type=whole(), metavar="B", help="batch size of the training")
    training.add_argument("--optimiser", metavar="NAME", help="sgd, momentum, adam, adamw, ...")
    training.add_argument("--learning-rate", type=positive, metavar="RATE", help="at this point of the training")
    output = parser.add_argument_group("output")
    output.add_argument("--out", metavar="DIR", help="also write batch_size.csv and batch_size.json there")
    add_json_and_quiet(output)

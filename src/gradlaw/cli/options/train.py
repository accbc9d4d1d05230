"""The options of gradlaw train."""

import argparse

from gradlaw.choices import OPTIMISERS
from gradlaw.cli.options.inputs import add_data_options, add_model_options
from gradlaw.cli.options.output import add_json_and_quiet
from gradlaw.cli.options.values import numbers, positive, seed, whole, whole_numbers


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what ``gradlaw train`` takes."""
    parser.description = (
        "Trains a model and writes a checkpoint after every epoch: the weights as safetensors, and every\n"
        "setting as JSON beside them. A training that was killed goes on with --resume and ends with\n"
        "the same bits. Defaults are the recipes of the paper; without arguments its fully connected\n"
        "network on scikit-learn's handwritten digits."
    )
    parser.epilog = (
        "examples:\n"
        "  gradlaw train\n"
        "  gradlaw train --data mnist --model lenet\n"
        "  gradlaw train --data mnist --model lenet --optimiser momentum --label-noise symmetric=0.4\n"
        "  gradlaw train --data mnist --model lenet --resume\n"
        "  gradlaw analyze --checkpoint runs/train-lenet-mnist-seed0"
    )
    parser.set_defaults(command="gradlaw.cli.train:run")
    what = parser.add_argument_group("what to train")
    add_data_options(what)
    what.add_argument("--test-split", metavar="SPLIT", help="split to measure the accuracy on after every epoch, or "
                      "none (default: test, if there is one)")  # fmt: skip
    add_model_options(what, "randomly initialised")
    _add_recipe(parser.add_argument_group("recipe"))
    output = parser.add_argument_group("output")
    output.add_argument("--out", metavar="DIR", help="folder for the checkpoints (default: runs/train- and a name made "
                        "of the settings)")  # fmt: skip
    start = output.add_mutually_exclusive_group()
    start.add_argument("--resume", action="store_true", help="go on from the last checkpoint in the folder, if any; "
                       "--epochs may be more than it was to be")  # fmt: skip
    start.add_argument(
        "--force", action="store_true", help="overwrite the training that the folder holds, once the new one is whole"
    )
    output.add_argument("--keep-all", action="store_true", help="keep the weights of every epoch, not only of the last")
    output.add_argument("--points", type=numbers, metavar="E,E,...", default=(), help="also keep the weights after so "
                        "many epochs, whole or not, as point-E.safetensors: 0,0.1,0.5,1")  # fmt: skip
    add_json_and_quiet(output)


def _add_recipe(how: argparse._ArgumentGroup) -> None:
    how.add_argument("--optimiser", choices=OPTIMISERS, help="default: sgd; momentum on CIFAR, adam for gpt")
    how.add_argument("--learning-rate", type=positive, metavar="RATE", help="default: 0.1, adam 0.001, sgd on CIFAR 1")
    how.add_argument("--epochs", type=whole(), metavar="N", help="default: 50; 200 on CIFAR")
    how.add_argument("--milestones", type=whole_numbers(1), metavar="E,E,...", help="epochs after which the rate is "
                     "divided by 10 (default: at 40%% and 80%% of them; CIFAR-100 at 50%% and 75%%)")  # fmt: skip
    how.add_argument("--batch-size", "-B", type=whole(), metavar="B", help="samples in a minibatch (default: 128)")
    how.add_argument("--weight-decay", type=float, metavar="W", help="default: 0.0005")
    how.add_argument("--momentum", type=float, metavar="BETA", help="of --optimiser momentum (default: 0.9)")
    how.add_argument("--clip-norm", type=positive, metavar="NORM", help="longest gradient (default: no limit)")
    how.add_argument("--channels-last", action="store_true", help="lay images out channels last in memory, which "
                     "makes convolutions faster")  # fmt: skip
    how.add_argument("--augment", action=argparse.BooleanOptionalAction,
                     help="flip and crop images at random (default: on CIFAR)")  # fmt: skip
    how.add_argument("--seed", type=seed, metavar="SEED", default=0, help="seed of everything (default: 0)")
    how.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: cpu)")

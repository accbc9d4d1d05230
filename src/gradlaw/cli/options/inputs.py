"""The options that name data and model."""

import argparse

from gradlaw.choices import INITIALISATIONS, MODELS, NORMALISATIONS, RANDOMNESS
from gradlaw.cli.options.values import image_size, names, whole

DATA_OPTIONS = ("data", "label", "inputs", "normalise", "resize", "label_noise")
MODEL_OPTIONS = ("model", "width", "hidden_layers", "heads", "logits", "padding", "initialisation")


def add_data_options(group: argparse._ArgumentGroup) -> None:
    """What names a data set and prepares it."""
    group.add_argument("--data", metavar="DATA", help="digits (default), mnist, cifar10, cifar100, a hub id such as "
                       "ylecun/mnist; a folder of Parquet files, CSV files or images by class; a Parquet or CSV file; "
                       "a text (.txt), or a folder with one, for gpt")  # fmt: skip
    group.add_argument("--label", metavar="COLUMN", help="label column (default: the one that looks like it)")
    group.add_argument("--inputs", type=names, metavar="COLUMN,...", help="input columns (default: the first image "
                       "column, or all numeric ones but the label)")  # fmt: skip
    group.add_argument("--normalise", choices=NORMALISATIONS, help="to zero mean and unit variance by channel or "
                       "numeric column (default), by pixel, or not at all")  # fmt: skip
    group.add_argument("--resize", type=image_size, metavar="HxW", help="bring all images to this height and width "
                       "in pixels, or N for NxN; stretched, not cropped (default: as they are)")  # fmt: skip
    group.add_argument("--offline", action="store_true", help="ask nothing of the hub but what is in its cache here")
    group.add_argument("--label-noise", metavar="KIND[=RATE]", help="corrupt the labels: symmetric=0.4 (to any other "
                       "class), pair=0.2 (to the next class), random (all shuffled)")  # fmt: skip


def add_model_options(group: argparse._ArgumentGroup, remark: str) -> None:
    """What names a model and its sizes."""
    group.add_argument("--model", metavar="MODEL", help=f"{', '.join(MODELS)} (default: fcn); {remark}")
    group.add_argument("--width", type=whole(), metavar="N", help="of the hidden layers (fcn, lnn: 70), of the first "
                       "stage (resnet18: 64), of the residual stream (gpt: 64)")  # fmt: skip
    group.add_argument("--hidden-layers", type=whole(0), metavar="N", help="number of hidden layers "
                       "(fcn: 2, lnn: 4) or blocks (gpt: 4)")  # fmt: skip
    group.add_argument("--heads", type=whole(), metavar="N", help="of each attention (gpt: 4)")
    group.add_argument("--padding", type=whole(0), metavar="N", help="of the first convolution (lenet on 28x28: 2)")
    group.add_argument("--initialisation", choices=INITIALISATIONS, help="of linear layers and convolutions (default: "
                       "pytorch)")  # fmt: skip
    group.add_argument("--logits", type=whole(), metavar="N", help="outputs of the model (default: one for each class)")


def add_problem_options(group: argparse._ArgumentGroup) -> None:
    """What names a problem: data and model, weights, or a function of the user's own."""
    add_data_options(group)
    group.add_argument("--split", help="split of the data (default: train)")
    add_model_options(group, "randomly initialised without --checkpoint")
    group.add_argument("--checkpoint", metavar="FILE", help="weights: a checkpoint of gradlaw train, which also gives "
                       "data and model, or a state_dict (.safetensors, .pt) of the --model or --problem")  # fmt: skip
    group.add_argument("--problem", metavar="MODULE:FUNCTION",
                       help="your own function that returns a gradlaw.Problem, instead of --data, --model; or "
                       "FILE.py:FUNCTION")  # fmt: skip
    group.add_argument("--parameters", action="append", metavar="PATTERN",
                       help="only the parameters whose name matches, such as 'fc*' (repeatable)")  # fmt: skip
    group.add_argument("--randomness", choices=RANDOMNESS, help="what to do with a model that is random at fixed "
                       "parameters, dropout for instance (default: refuse)")  # fmt: skip

"""The models of the paper."""

from gradlaw.zoo.build import MODELS, build_model
from gradlaw.zoo.fcn import FCN
from gradlaw.zoo.lenet import LeNet

__all__ = ["FCN", "MODELS", "LeNet", "build_model"]

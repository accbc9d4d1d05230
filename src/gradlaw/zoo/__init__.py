"""The models of the paper, and a small GPT."""

from gradlaw.zoo.build import MODELS, ModelSettings, build_model
from gradlaw.zoo.fcn import FCN
from gradlaw.zoo.gpt import GPT, next_token_loss
from gradlaw.zoo.lenet import LeNet
from gradlaw.zoo.resnet import ResNet18

__all__ = ["FCN", "GPT", "MODELS", "LeNet", "ModelSettings", "ResNet18", "build_model", "next_token_loss"]

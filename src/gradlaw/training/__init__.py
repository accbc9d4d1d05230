"""Training by the recipes of the paper, and checkpoints."""

from gradlaw.training.checkpoint import Checkpoint, load_checkpoint
from gradlaw.training.epoch import Score
from gradlaw.training.recipe import OPTIMISERS, Recipe, default_recipe
from gradlaw.training.train import TrainingRun, train

__all__ = ["OPTIMISERS", "Checkpoint", "Recipe", "Score", "TrainingRun", "default_recipe", "load_checkpoint", "train"]

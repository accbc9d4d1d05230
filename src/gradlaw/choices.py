"""The words that arguments take: types, so that a type checker refuses any other, and tuples, for checks and help.

Nothing heavy is imported here: the help of the command line offers these words before PyTorch is there.
"""

from typing import Literal, get_args

Axis = Literal["dimension", "iteration"]
EngineName = Literal["auto", "loop", "vmap", "layerwise", "samplewise"]
DtypeName = Literal["float64", "float32", "bfloat16", "float16"]
Which = Literal["LA", "SA", "LM"]
RankChoice = Literal["all", "one"]
Randomness = Literal["refuse", "seeded"]
NormaliseBy = Literal["channel", "pixel", "none"]
InitialisationName = Literal["pytorch", "paddle", "kaiming", "xavier"]
OptimiserName = Literal["sgd", "momentum", "adam"]
ModelName = Literal["lenet", "resnet18", "fcn", "fcn-relu-bn", "fcn-relu", "lnn", "lnn-bn", "lnn-relu", "gpt"]

AXES: tuple[Axis, ...] = get_args(Axis)
ENGINES: tuple[EngineName, ...] = get_args(EngineName)
DTYPES: tuple[DtypeName, ...] = get_args(DtypeName)
RANK_CHOICES: tuple[RankChoice, ...] = get_args(RankChoice)
RANDOMNESS: tuple[Randomness, ...] = get_args(Randomness)
NORMALISATIONS: tuple[NormaliseBy, ...] = get_args(NormaliseBy)
INITIALISATIONS: tuple[InitialisationName, ...] = get_args(InitialisationName)
OPTIMISERS: tuple[OptimiserName, ...] = get_args(OptimiserName)
MODELS: tuple[ModelName, ...] = get_args(ModelName)

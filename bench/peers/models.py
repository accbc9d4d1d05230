"""The networks of the benchmarks, for an interpreter without gradlaw: the zoo's files, which need only torch."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

from torch import nn

_ZOO = Path(__file__).parents[2] / "src/gradlaw/zoo"


def _from_zoo(name: str, cls: str) -> type[nn.Module]:
    spec = importlib.util.spec_from_file_location(name, _ZOO / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, cls)


LeNet, FCN, ResNet18 = _from_zoo("lenet", "LeNet"), _from_zoo("fcn", "FCN"), _from_zoo("resnet", "ResNet18")
GPT = _from_zoo("gpt", "GPT")
MODELS: dict[str, Callable[[], nn.Module]] = {
    "lenet": LeNet,
    "fcn": lambda: FCN(784),
    "fcn without BatchNorm": lambda: FCN(784, steps=("relu",)),
    "resnet18": lambda: ResNet18().eval(),
}

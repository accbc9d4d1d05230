"""Ways to collect the gradients of T minibatches as a (T, n) matrix; one of them runs in this process.

python collectors.py FOLDER NAME   ->   one line of JSON on stdout

FOLDER is what cases.py wrote. gradlaw runs in its own interpreter, everything else in that of the peers. The loop
leaves its result in FOLDER, and the results of all others are compared with it.
"""

import copy
import importlib
import math
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from cases import Work
from contest import perform
from torch import Tensor
from torch.nn.functional import cross_entropy

_WARM_UP = 8  # iterations
_LIBRARIES = {"gradlaw": "gradlaw", "opacus": "opacus.grad_sample", "backpack": "backpack.extensions"}
_BYTES = 256 * 2**20  # compared at once, in float64


def gradlaw(engine: str, work: Work) -> Tensor:
    """All of gradlaw.collect: the checks of the first minibatch and of finite values too."""
    import gradlaw as gl

    problem = gl.Problem(work.model, cross_entropy, (work.inputs, work.targets))
    iterations, batch_size = work.indices.shape
    return gl.collect(problem, iterations, batch_size, seed=0, engine=engine, store="memory").gradients


def loop(work: Work) -> Tensor:
    """torch.autograd.grad, minibatch by minibatch."""
    out, parameters = work.empty_history(), list(work.model.parameters())
    for row, chosen in zip(out, work.indices, strict=True):
        loss = cross_entropy(work.model(work.inputs[chosen]), work.targets[chosen])
        torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)], out=row)
    return out


def torch_func(work: Work) -> Tensor:
    """vmap(grad(loss)), written down as in PyTorch's tutorial, chunk by chunk."""
    theta = {name: p.detach() for name, p in work.model.named_parameters()}
    buffers = dict(work.model.named_buffers())

    def loss(theta: dict, buffers: dict, inputs: Tensor, targets: Tensor) -> Tensor:
        return cross_entropy(torch.func.functional_call(work.model, (theta, buffers), (inputs,)), targets)

    gradients = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0, 0))
    out = work.empty_history()
    for rows, inputs, targets in work.chunks():
        own = {name: b.expand(len(inputs), *b.shape).clone() for name, b in buffers.items()}
        torch.cat([g.flatten(1) for g in gradients(theta, own, inputs, targets).values()], dim=1, out=out[rows])
    return out


def opacus(work: Work) -> Tensor:
    """Gradients of single samples, averaged over each minibatch."""
    from opacus.grad_sample import GradSampleModule

    model = GradSampleModule(copy.deepcopy(work.model), loss_reduction="sum")
    out = work.empty_history()
    for rows, inputs, targets in work.chunks():
        cross_entropy(model(inputs.flatten(0, 1)), targets.flatten(), reduction="sum").backward()
        _write_means([p.grad_sample for p in model.parameters()], out[rows])
        model.zero_grad()
    return out


def backpack(work: Work) -> Tensor:
    """Gradients of single samples, averaged over each minibatch."""
    from backpack import backpack, extend
    from backpack.extensions import BatchGrad

    # It goes on with a warning that the result may be meaningless, and so it is.
    warnings.filterwarnings("error", message="Encountered BatchNorm module in training mode")
    model, loss = extend(copy.deepcopy(work.model)), extend(torch.nn.CrossEntropyLoss(reduction="sum"))
    out = work.empty_history()
    for rows, inputs, targets in work.chunks():
        with backpack(BatchGrad()):
            loss(model(inputs.flatten(0, 1)), targets.flatten()).backward()
        _write_means([p.grad_batch for p in model.parameters()], out[rows])
        for p in model.parameters():
            del p.grad_batch
            p.grad = None
    return out


def _write_means(gradients: list[Tensor], rows: Tensor) -> None:
    """Means over the samples of each minibatch, of the gradients of single samples, one tensor a parameter."""
    count, samples = len(rows), len(gradients[0])
    if samples > count:
        gradients = [g.unflatten(0, (count, -1)).mean(dim=1) for g in gradients]
    torch.cat([g.flatten(1) for g in gradients], dim=1, out=rows)


def floor(work: Work) -> None:
    """What nobody can leave out: a batched backward pass over the same samples, and writing a (T, n) matrix."""
    for _, inputs, targets in work.chunks(samples=512):
        loss = cross_entropy(work.model(inputs.flatten(0, 1)), targets.flatten())
        torch.autograd.grad(loss, list(work.model.parameters()))
    work.empty_history().fill_(1.0)


CONTENDERS: dict[str, Callable[[Work], Tensor | None]] = {
    "loop": loop,
    "floor": floor,
    "torch.func": torch_func,
    "opacus": opacus,
    "backpack": backpack,
    **{f"gradlaw-{engine}": partial(gradlaw, engine) for engine in ("auto", "layerwise", "vmap", "loop")},
}


def difference(folder: Path, result: Tensor | None) -> float | None:
    """||result - reference|| / ||reference|| of the whole matrices; None for the floor.

    Not the largest of the rows: in float32 a ReLU whose input is next to zero may fall on its other side, which moves
    one gradient in some dozens of ResNet18 by 2e-4, the loop's as well as anyone's.
    """
    if result is None:
        return None
    path = folder / "reference.npy"
    if not path.exists():
        np.save(path, result.numpy())
    reference = np.load(path, mmap_mode="r")
    off = size = 0.0
    step = max(1, _BYTES // (8 * reference.shape[1]))
    for start in range(0, len(reference), step):
        expected = torch.from_numpy(reference[start : start + step].astype(np.float64))
        off += float((result[start : start + step] - expected).square().sum())
        size += float(expected.square().sum())
    return math.sqrt(off / size)


if __name__ == "__main__":
    where, name = Path(sys.argv[1]), sys.argv[2]
    importlib.import_module(_LIBRARIES.get(name.partition("-")[0], "torch"))  # no part of the measurement
    all_work, collect = Work.read(where), CONTENDERS[name]
    perform(lambda: collect(all_work), lambda: collect(all_work.first(_WARM_UP)), partial(difference, where))

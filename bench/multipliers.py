"""Ways to multiply vectors by a Hessian, as one process each.

python multipliers.py FOLDER NAME PRODUCTS   ->   one line of JSON on stdout

FOLDER is what cases.py wrote; its minibatches are the chunks in which the samples are taken. gradlaw runs in its own
interpreter, everything else in that of the peers. The reference leaves its result in FOLDER, and the results of all
others are compared with it.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from cases import Work
from contest import perform
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

Multiply = Callable[[Tensor], Tensor | None]


def gradlaw(work: Work, memory: int | None = None) -> Multiply:
    """The linearised Hessian, or with no memory for it, linearised anew at each product."""
    import gradlaw as gl
    from gradlaw.curvature.operators.hessian import hessian

    operator = hessian(gl.Problem(work.model, cross_entropy, (work.inputs, work.targets)), memory=memory)
    return lambda vector: operator @ vector


def double_backward(work: Work, dtype: torch.dtype = torch.float32) -> Multiply:
    """Plain torch, with the graph of the gradient built for each product."""
    model = work.model.to(dtype)
    parameters = list(model.parameters())

    def multiply(vector: Tensor) -> Tensor:
        total = torch.zeros(work.dimensions, dtype=dtype)
        for inputs, targets in batches(work):
            loss = cross_entropy(model(inputs.to(dtype)), targets)
            gradient = torch.autograd.grad(loss, parameters, create_graph=True)
            product = torch.autograd.grad(gradient, parameters, _pieces(vector.to(dtype), parameters))
            total += torch.cat([h.flatten() for h in product]) / len(work.indices)
        return total

    return multiply


def gradient(work: Work) -> Multiply:
    """One gradient instead of each product."""
    parameters = list(work.model.parameters())

    def differentiate(vector: Tensor) -> None:
        for inputs, targets in batches(work):
            torch.autograd.grad(cross_entropy(work.model(inputs), targets), parameters)

    return differentiate


def curvlinops(work: Work) -> Multiply:
    from curvlinops import HessianLinearOperator

    loss, parameters = nn.CrossEntropyLoss(), list(work.model.parameters())
    operator = HessianLinearOperator(work.model, loss, parameters, batches(work), check_deterministic=False)
    return lambda vector: operator @ vector


def eigenthings(work: Work) -> Multiply:
    from hessian_eigenthings.operators import HessianOperator

    operator = HessianOperator(work.model, batches(work), lambda model, batch: cross_entropy(model(batch[0]), batch[1]))
    return operator.matvec


def pyhessian(work: Work) -> Multiply:
    from pyhessian import hessian

    operator = hessian(work.model, nn.CrossEntropyLoss(), dataloader=batches(work), cuda=False)
    parameters = list(work.model.parameters())

    def multiply(vector: Tensor) -> Tensor:
        product = operator.dataloader_hv_product(_pieces(vector, parameters))[1]
        return torch.cat([h.flatten() for h in product])

    return multiply


def batches(work: Work) -> list[tuple[Tensor, Tensor]]:
    return [(work.inputs[chosen], work.targets[chosen]) for chosen in work.indices]


def _pieces(vector: Tensor, parameters: list[nn.Parameter]) -> list[Tensor]:
    sizes = [p.numel() for p in parameters]
    return [v.view_as(p) for v, p in zip(vector.split(sizes), parameters, strict=True)]


CONTENDERS: dict[str, Callable[[Work], Multiply]] = {
    "reference": lambda work: double_backward(work, torch.float64),
    "double-backward": double_backward,
    "gradient": gradient,
    "curvlinops": curvlinops,
    "eigenthings": eigenthings,
    "pyhessian": pyhessian,
    "gradlaw": gradlaw,
    "gradlaw-recomputed": lambda work: gradlaw(work, memory=0),
}


def difference(folder: Path, products: list[Tensor | None]) -> float | None:
    """The largest ||product - reference|| / ||reference||; None for the gradient."""
    if products[0] is None:
        return None
    path, result = folder / "products.pt", torch.stack(products).detach().double()
    if not path.exists():
        torch.save(result, path)
    reference = torch.load(path)
    return float(((result - reference).norm(dim=1) / reference.norm(dim=1)).max())


if __name__ == "__main__":
    where, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    all_work = Work.read(where)
    vectors = torch.randn(count, all_work.dimensions, generator=torch.Generator().manual_seed(1))
    built: list[Multiply] = []

    def build() -> None:
        built.append(CONTENDERS[name](all_work))
        built[0](vectors[0])

    perform(lambda: [built[0](v) for v in vectors], build, lambda result: difference(where, result))

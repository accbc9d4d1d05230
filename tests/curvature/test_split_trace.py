import torch
from torch.func import jvp

from gradlaw.curvature.operators.split_trace import SplitTrace


def _along(data, tangent):
    """The derivative of sum_i data_i x^2, by way of an operation in place on a tensor that does not depend on x."""

    def function(x):
        total = torch.zeros_like(data)
        total += data * x**2
        return total

    point = torch.arange(1.0, 4.0)
    return (jvp(function, (point,), (tangent,))[1],)


def test_one_trace_serves_other_data_and_many_tangents():
    trace = SplitTrace(_along, [torch.ones(3)], [torch.zeros(3)])
    data = torch.tensor([1.0, 2.0, 3.0])
    kept, _ = trace.keep([data])
    for tangent in torch.eye(3):
        for _ in range(2):  # a product leaves what is kept as it was
            assert torch.equal(trace.apply(kept, [tangent])[0], 2 * data * torch.arange(1.0, 4.0) * tangent)


def test_parameters_are_no_part_of_what_is_kept():
    weight = torch.randn(500, 500)
    trace = SplitTrace(lambda x, v: (x * (v @ weight),), [torch.ones(500)], [torch.zeros(500)])
    kept, _ = trace.keep([torch.randn(500)])
    assert trace.kept_bytes(kept) == 500 * 4

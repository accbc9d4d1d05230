"""docs/scale.md shows what tools/scale.py calculates."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_page_has_the_calculation():
    spec = importlib.util.spec_from_file_location("scale", ROOT / "tools/scale.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.table() in (ROOT / "docs/scale.md").read_text()
    # T^2 pairs of n numbers, two operations each, of which symmetry saves half.
    model = module.Model("a model", parameters=2e6, flops=1e9, iterations=1000)
    assert module.seconds(model, 4)["Gram"] > 1000**2 * 2e6 / 4 / module.DOUBLE_FLOPS
    assert module.memory(model, 4) > 4 * 1000 * 2e6 / 4

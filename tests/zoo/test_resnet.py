import torch
from torch import nn
from torch.nn import functional as F

from gradlaw.zoo import ResNet18


def _features(model: nn.Module, images: torch.Tensor) -> list[tuple[int, ...]]:
    shapes: list[tuple[int, ...]] = []
    for stage in model.stages:
        stage.register_forward_hook(lambda _, inputs, output: shapes.append(tuple(output.shape)))
    model(images)
    return shapes


def test_stages_double_the_channels_and_halve_the_image():
    shapes = _features(ResNet18(width=4), torch.randn(2, 3, 32, 32))
    assert shapes == [(2, 4, 32, 32), (2, 8, 16, 16), (2, 16, 8, 8), (2, 32, 4, 4)]


def test_it_has_eighteen_layers_with_weights_beside_the_shortcuts():
    layers = [name for name, m in ResNet18(width=4).named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len([name for name in layers if "shortcut" not in name]) == 18
    assert [name for name in layers if "shortcut" in name] == [f"stages.stage{i}.0.shortcut.0" for i in (2, 3, 4)]


def test_blocks_add_what_they_are_given():
    model = ResNet18(width=4).double().eval()
    plain, strided = model.stages.stage1[0], model.stages.stage2[0]
    for block in (plain, strided):
        nn.init.zeros_(block.bn2.weight)  # the residual branch is silent: what is left is relu(shortcut)
    x = torch.rand(2, 4, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(plain(x), x)
    projection, norm = strided.shortcut
    expected = F.conv2d(x[:, :, ::2, ::2], projection.weight) / (1 + norm.eps) ** 0.5
    torch.testing.assert_close(strided(x), F.relu(expected))

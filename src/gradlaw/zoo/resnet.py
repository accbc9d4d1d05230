"""ResNet18 for 32x32 images (He et al. 2016, section 4.2, with the widths of their ImageNet model)."""

from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional as F

BLOCKS_PER_STAGE = 2


class BasicBlock(nn.Module):
    """relu(bn(conv(relu(bn(conv(x))))) + shortcut(x)); the shortcut is a 1x1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            projection = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


class ResNet18(nn.Module):
    """A 3x3 stem without pooling, four stages of two blocks of ``width`` 1, 2, 4 and 8 times, average pool, Linear.

    11,173,962 parameters for 3 channels and 10 classes, in PyTorch's default initialisation. Width 64 is ResNet18;
    a smaller one is the same network at less cost. Any image size is taken; 32x32 ends at 4x4 features.
    """

    def __init__(self, channels: int = 3, classes: int = 10, width: int = 64):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        sizes = [width, width, 2 * width, 4 * width, 8 * width]
        self.stages = nn.Sequential(
            OrderedDict(
                (f"stage{i}", _stage(sizes[i - 1], sizes[i], stride=1 if i == 1 else 2)) for i in range(1, len(sizes))
            )
        )
        self.fc = nn.Linear(sizes[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, channels, H, W) to logits (B, classes)."""
        x = self.stages(F.relu(self.bn1(self.conv1(images))))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


def _stage(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    first = BasicBlock(inputs, outputs, stride)
    return nn.Sequential(first, *[BasicBlock(outputs, outputs, 1) for _ in range(BLOCKS_PER_STAGE - 1)])

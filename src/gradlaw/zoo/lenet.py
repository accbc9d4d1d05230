"""LeNet-5 with ReLU and max-pooling (LeCun et al. 1998; paper appendix A.2)."""

from torch import Tensor, nn
from torch.nn import functional as F


class LeNet(nn.Module):
    """conv 6@5x5, conv 16@5x5, then 120-84-``classes``.

    ``padding`` is that of the first convolution: of 28x28 images 2 (61,706 parameters for 1 channel and 10 classes) or
    0 (44,426), of 32x32 images 0 (62,006 for 3 channels); None is 2 and 0. Initialisation is PyTorch's default.
    """

    def __init__(self, channels: int = 1, size: int = 28, classes: int = 10, padding: int | None = None):
        super().__init__()
        if size not in (28, 32):
            raise ValueError(f"LeNet takes images of 28x28 or 32x32, got {size}x{size}")
        padding = (32 - size) // 2 if padding is None else padding
        side = ((size + 2 * padding - 4) // 2 - 4) // 2  # after two convolutions, each halved
        self.conv1 = nn.Conv2d(channels, 6, 5, padding=padding)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * side**2, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, channels, size, size) to logits (B, classes)."""
        x = F.max_pool2d(F.relu(self.conv1(images)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(x.flatten(1)))
        return self.fc3(F.relu(self.fc2(x)))

"""The networks of the paper, at random and trained, under short names."""

from dataclasses import replace

from gradlaw.reproduction.experiment import Point, Training


def trained(point: Point, optimiser: str | None = None, weight_decay: float | None = None) -> Point:
    """The same network, trained by the paper's recipe or with another optimiser or weight decay."""
    return replace(point, training=Training(optimiser, weight_decay))


def noisy(point: Point, noise: str) -> Point:
    """The same network trained on corrupted labels, by SGD with momentum (appendix A.5)."""
    return replace(point, training=Training("momentum"), label_noise=noise)


LENET = Point("mnist", "lenet")
LENET_TRAINED = trained(LENET)
LENET_CIFAR = Point("cifar10", "lenet")
LENET_CIFAR_TRAINED = trained(LENET_CIFAR)
LENET_CIFAR_100_LOGITS = Point("cifar10", "lenet", logits=100)  # the paper's CIFAR-10*
LENET_CIFAR100 = Point("cifar100", "lenet")

# The order of BatchNorm and ReLU is not stated: both are measured.
BN_RELU, RELU_BN = "fcn", "fcn-relu-bn"
ORDERS = {"BatchNorm, ReLU": BN_RELU, "ReLU, BatchNorm": RELU_BN}
FCN = Point("mnist", BN_RELU)
FCN_TRAINED = trained(FCN)
FCN_RELU_BN = Point("mnist", RELU_BN)
FCN_RELU_BN_TRAINED = trained(FCN_RELU_BN)
FCN_NO_BN = Point("mnist", "fcn-relu")

LNN, LNN_BN, LNN_RELU = (Point("mnist", name) for name in ("lnn", "lnn-bn", "lnn-relu"))

AVILA, AVILA_RELU_BN = Point("avila", BN_RELU), Point("avila", RELU_BN)

RESNET_CIFAR, RESNET_CIFAR100 = Point("cifar10", "resnet18"), Point("cifar100", "resnet18")

FCN_BATCH = 10  # BatchNorm has no statistics of one sample: the paper's own tables have B = 10 for the FCN

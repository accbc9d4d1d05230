"""The networks of the paper, at random and trained, under short names."""

from dataclasses import replace

from gradlaw.reproduction.experiment import NetworkSpec, Training, history


def trained(network: NetworkSpec, optimiser: str | None = None, weight_decay: float | None = None) -> NetworkSpec:
    """The same network, trained by the paper's recipe or with another optimiser or weight decay."""
    return replace(network, training=Training(optimiser, weight_decay))


def noisy(network: NetworkSpec, noise: str) -> NetworkSpec:
    """The same network trained on corrupted labels, by SGD with momentum (appendix A.5)."""
    return replace(network, training=Training("momentum"), label_noise=noise)


LENET = NetworkSpec("mnist", "lenet")
LENET_TRAINED = trained(LENET)
LENET_CIFAR = NetworkSpec("cifar10", "lenet")
LENET_CIFAR_TRAINED = trained(LENET_CIFAR)
LENET_CIFAR_100_LOGITS = NetworkSpec("cifar10", "lenet", logits=100)  # the paper's CIFAR-10*
# Its recipe learns nothing with a hundred logits: a tenth of its rate, for 20 epochs, is a deviation that does.
LENET_CIFAR_100_LOGITS_TRAINED = replace(LENET_CIFAR_100_LOGITS, training=Training(learning_rate=0.01, epochs=20))
LENET_CIFAR100 = NetworkSpec("cifar100", "lenet")

# The order of BatchNorm and ReLU is not stated: both are measured.
BN_RELU, RELU_BN = "fcn", "fcn-relu-bn"
ORDERS = {"BatchNorm, ReLU": BN_RELU, "ReLU, BatchNorm": RELU_BN}
FCN = NetworkSpec("mnist", BN_RELU)
FCN_TRAINED = trained(FCN)
FCN_RELU_BN = NetworkSpec("mnist", RELU_BN)
FCN_RELU_BN_TRAINED = trained(FCN_RELU_BN)
FCN_NO_BN = NetworkSpec("mnist", "fcn-relu")

LNN, LNN_BN, LNN_RELU = (NetworkSpec("mnist", name) for name in ("lnn", "lnn-bn", "lnn-relu"))

AVILA, AVILA_RELU_BN = NetworkSpec("avila", BN_RELU), NetworkSpec("avila", RELU_BN)

RESNET_CIFAR, RESNET_CIFAR100 = NetworkSpec("cifar10", "resnet18"), NetworkSpec("cifar100", "resnet18")

_CENTRAL = {
    "LeNet, MNIST, B = 1": (LENET, 1),
    "LeNet, MNIST, B = 100": (LENET, 100),
    "LeNet, CIFAR-10, B = 1": (LENET_CIFAR, 1),
    "LeNet, CIFAR-10, B = 100": (LENET_CIFAR, 100),
    **{f"FCN, {order}, MNIST, B = 10": (NetworkSpec("mnist", model), 10) for order, model in ORDERS.items()},
    "LNN, MNIST, B = 10": (LNN, 10),
    "LNN with BatchNorm, MNIST, B = 10": (LNN_BN, 10),
    "LNN with ReLU, MNIST, B = 10": (LNN_RELU, 10),
}
CENTRAL = {
    f"{name}, {how}": history(at(network), batch)
    for name, (network, batch) in _CENTRAL.items()
    for how, at in (("random", lambda network: network), ("trained", trained))
}

FCN_BATCH = 10  # BatchNorm has no statistics of one sample: the paper's own tables have B = 10 for the FCN

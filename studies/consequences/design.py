"""What is trained and measured, as data: three experiments, with what is known of the published recipes.

``edge``: Andreyev, Beneventano 2024 (arXiv 2412.20553), by the command in the README of the authors' code
(github.com/arseniqum/edge-of-stochastic-stability): CIFAR-10, 8,192 samples, two hidden layers of 512 with ReLU,
weights of He et al. times 0.2 and no biases at the start, squared error summed over the outputs, B = 8, eta = 0.01.
Assumed: which samples; here the training stops after 60 epochs (61,440 steps), there after 150,000 steps.

``subspaces``: Song, Ahn, Yun 2025 (arXiv 2405.16002), "MLP on MNIST-5k": two hidden layers with tanh, squared error,
B = 50, eta = 0.01, k = 10, the subspace computed anew at every step. Smaller here: 500 samples for 5,000, width 32
for 200, 2,000 steps for 20,000, a new subspace every 50 steps. Assumed: the squared error is summed over the outputs,
weights are PyTorch's default.

``blocks``: Zhang et al. 2024 (arXiv 2402.16788): the spectrum of the Hessian of each weight at random initialisation,
by stochastic Lanczos quadrature, and the Jensen-Shannon distances between them. Theirs are GPT-2, BERT, ViT, ResNet18,
VGG16; here a GPT of two blocks, LeNet and a fully connected network.
"""

import torch
from torch import Tensor, nn

CLASSES = 10

# edge
EDGE_SEEDS, EDGE_SAMPLES, EDGE_WIDTH, EDGE_SCALE = (0, 1), 8192, 512, 0.2
EDGE_BATCH, EDGE_RATE, EDGE_EPOCHS = 8, 0.01, 60
EDGE_POINTS = (0, 1, 2, 4, 7, 10, 15, 20, 30, 40, 50, 60)  # epochs at which is measured
EDGE_SETTLED = 30  # the epoch from which on it has to have settled: half of the training
EDGE_MINIBATCHES = 300  # of an estimate of the batch sharpness
EDGE_HESSIAN_SAMPLES = 1024  # of the largest eigenvalue

# subspaces
SUBSPACE_SEEDS, SUBSPACE_SAMPLES, SUBSPACE_WIDTH = (0, 1, 2), 500, 32
SUBSPACE_BATCH, SUBSPACE_RATE, K = 50, 0.01, 10
SWITCH, LAST, REFRESH = 1000, 2000, 50  # steps: where projection begins, where it ends, how often the subspace is new
COVARIANCE_MINIBATCHES = 200
HESSIAN, COVARIANCE = "Hessian", "covariance"
SUBSPACES = (HESSIAN, COVARIANCE)
SGD, DOMINANT, BULK = "SGD", "Dom-SGD", "Bulk-SGD"
ENDS = 5  # records of the loss that are averaged at the end, one a refresh

# blocks
BLOCK_SEEDS = (0, 1, 2)
LENET, FCN, GPT = "lenet", "fcn-relu", "gpt"
NETWORKS = (GPT, LENET, FCN)
GPT_SIZES, GPT_CONTEXT = {"width": 32, "depth": 2, "heads": 2}, 32
BLOCK_SAMPLES = {GPT: 16, LENET: 200, FCN: 200}  # of the Hessian; a sample of the GPT is 32 characters
PROBES, STEPS = 4, 40  # of the quadrature
ITERATIONS, BLOCK_BATCH = 600, 10  # minibatches of the covariance
LEADING = 10  # eigenvectors


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Squared error summed over the outputs, its mean over the minibatch; targets are classes."""
    wanted = targets[:, None] == torch.arange(CLASSES)  # not one_hot, which reads values and cannot be linearised
    return (outputs - wanted.to(outputs.dtype)).square().sum(dim=1).mean()


def edge_model() -> nn.Sequential:
    """Two hidden layers of 512; draw the weights with :func:`scaled_he`."""
    width = EDGE_WIDTH
    layers = (nn.Linear(3072, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, CLASSES))
    return nn.Sequential(nn.Flatten(), *layers)


def scaled_he(model: nn.Module) -> None:
    """Weights of He et al. 2015 (fan-in, ReLU) times 0.2, biases zero."""
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            layer.weight.data.mul_(EDGE_SCALE)
            nn.init.zeros_(layer.bias)


def subspace_model() -> nn.Sequential:
    """Two hidden layers with tanh, at PyTorch's default initialisation."""
    width = SUBSPACE_WIDTH
    layers = (nn.Linear(784, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, CLASSES))
    return nn.Sequential(nn.Flatten(), *layers)

"""What the spectra mean for training: stability, leading subspaces, eigenvectors, and how unlike the blocks are."""

from gradlaw.dynamics.batch_sharpness import BatchSharpness, EdgeOfStability, batch_sharpness, edge_of_stability
from gradlaw.dynamics.blocks import BlockDistances, block_distances
from gradlaw.dynamics.participation import ParticipationRatios, participation_ratios
from gradlaw.dynamics.progress import SubspaceProgress, subspace_progress
from gradlaw.dynamics.rotation import SubspaceRotation, operator_distance, subspace_rotation
from gradlaw.dynamics.subspace import Subspace

__all__ = [
    "BatchSharpness",
    "BlockDistances",
    "EdgeOfStability",
    "ParticipationRatios",
    "Subspace",
    "SubspaceProgress",
    "SubspaceRotation",
    "batch_sharpness",
    "block_distances",
    "edge_of_stability",
    "operator_distance",
    "participation_ratios",
    "subspace_progress",
    "subspace_rotation",
]

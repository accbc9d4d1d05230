"""The sizes at which the paper is reproduced: its own, and smaller ones."""

from gradlaw.reproduction.profiles import Profile

PROFILES = {
    profile.name: profile
    for profile in (
        Profile("paper", "the paper's own sizes: T = 5000, K = 1000, whole trainings",
                5000, 1000, None, 100, 200, None, 1000, None, 100),
        Profile("quick", "same structure at small size: T = 600, K = 120 (150 and 30 for B above 1000), packaged "
                "networks or one epoch of training, ResNet18 with T = K = 20 and an eighth of its width",
                600, 120, (150, 30), 100, 20, 1, 60, 1000, 30, resnet_width=8),
        Profile("tiny", "for tests only: T = 60, K = 32, 500 samples",
                60, 32, None, 20, 10, 1, 8, 100, 12, samples=500, resnet_width=4),
    )
}  # fmt: skip

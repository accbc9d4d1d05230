"""The random streams of a run: the first word of each seed sequence, so that no two streams share their numbers."""

EPOCH, REPLACEMENT, MODEL, GAUSSIAN, FORWARD, SHUFFLE = 1, 2, 3, 4, 5, 6
SCAN_BOOTSTRAP, TAIL_BOOTSTRAP, EXPONENT_BOOTSTRAP = 21, 22, 23
ISOTROPIC, PERMUTED, DIAGONAL, SUBSAMPLE = 31, 32, 33, 34

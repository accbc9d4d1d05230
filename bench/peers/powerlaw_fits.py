"""Runs in an environment of its own: the power-law fits of the powerlaw package, series by series.

python powerlaw_fits.py SERIES.npy K   ->   one line of JSON on stdout
"""

import json
import sys
import time
import warnings
from importlib.metadata import version

import numpy as np
import powerlaw

warnings.simplefilter("ignore")
series, k = np.load(sys.argv[1]), int(sys.argv[2])
alphas, distances = [], []
start = time.perf_counter()
for values in series:
    tail = np.sort(np.abs(values))[-k:]
    fit = powerlaw.Fit(tail, xmin=tail[0], verbose=0).power_law
    alphas.append(float(fit.alpha))
    distances.append(float(fit.D))
seconds = time.perf_counter() - start
print(json.dumps({"version": version("powerlaw"), "seconds": seconds, "alpha": alphas, "d_ks": distances}))

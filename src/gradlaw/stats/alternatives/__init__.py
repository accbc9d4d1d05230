"""Is a power law the best description of a tail? Four other families of distributions, one file each."""

from gradlaw.stats.alternatives.comparison import TailAlternative, TailComparison, compare_tails
from gradlaw.stats.alternatives.rows import TailAlternatives, TailComparisons, compare_tails_rows
from gradlaw.stats.alternatives.tail import fitted_tail

__all__ = [
    "TailAlternative",
    "TailAlternatives",
    "TailComparison",
    "TailComparisons",
    "compare_tails",
    "compare_tails_rows",
    "fitted_tail",
]

"""The 1,000 largest eigenpairs of the same Hessian by the same contenders; about an hour.

python bench/run.py thousand_eigenpairs    # not among those of `make bench`
"""

import hessian_eigenpairs


def table() -> str:
    """The measurement in Markdown."""
    return hessian_eigenpairs.table(1000)

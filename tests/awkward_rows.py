"""Series that a test of Gaussianity finds hard: ties, and scales from 1e-30 to 1e30."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp


@st.composite
def matrices(draw):
    """Rows with ties and scales from 1e-30 to 1e30, none of them constant or with a mean that swamps its spread."""
    shape = draw(st.tuples(st.integers(1, 6), st.integers(8, 60)))
    values = draw(hnp.arrays(np.float64, shape, elements=st.sampled_from([-3.0, -1.0, 0.0, 0.5, 0.7, 2.0, 40.0])))
    values += draw(st.sampled_from([0.0, 1e-3, 1.0])) * draw(hnp.arrays(np.float64, shape, elements=st.floats(-1, 1)))
    values[:, 0], values[:, 1] = -1.0, 1.5
    scales = draw(hnp.arrays(np.int64, (shape[0], 1), elements=st.integers(-30, 30)))
    return values * 10.0**scales

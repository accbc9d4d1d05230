"""What the two matrices of a gradient history are called."""

SECOND_MOMENT, COVARIANCE = "second moment", "covariance"
MATRICES = {False: SECOND_MOMENT, True: COVARIANCE}  # by whether the mean over the iterations is taken off

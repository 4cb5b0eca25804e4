"""How many threads a fit of scikit-learn's gets."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import numpy as np
from threadpoolctl import threadpool_limits

#: Entries up to which products of a matrix with a few columns are over before a second thread has begun: on two cores
#: 2,000 x 800 rows took a third of the time on one.
ONE_THREAD_UP_TO = 1 << 23


def blas_threads_for(matrix: np.ndarray) -> AbstractContextManager:
    """Context in which the BLAS has one thread where `matrix` is small, and otherwise as many as it had."""
    return threadpool_limits(limits=1, user_api="blas") if matrix.size <= ONE_THREAD_UP_TO else nullcontext()

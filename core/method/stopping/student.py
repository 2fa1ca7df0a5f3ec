"""Student's t, for intervals over few references."""

from __future__ import annotations

import math

# Quantiles on each side of a 90 % interval, from one degree of freedom on; beyond them the normal's, widened.
STUDENT = (6.314, 2.920, 2.353, 2.132, 2.015, 1.943, 1.895, 1.860, 1.833)
NORMAL = 1.645


def quantile(freedom: int) -> float:
    """Return how many standard errors a 90 % interval reaches to each side; infinite without a degree of freedom."""
    if freedom < 1:
        return math.inf
    return STUDENT[freedom - 1] if freedom <= len(STUDENT) else NORMAL + (NORMAL**3 + NORMAL) / (4 * freedom)

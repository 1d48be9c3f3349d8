"""How much is tried: a minute's worth in every run of the tests, far more with FAULTS=long."""

import os

LONG = os.environ.get("FAULTS") == "long"
# Seconds after which a test of this package has hung. Shrinking a failure takes minutes.
TIME_LIMIT = 3600 if LONG else 900
EXAMPLES = 3_000 if LONG else 100

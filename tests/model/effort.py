"""How much is tried: seconds' worth in every run of the tests, hours' worth with FAULTS=long."""

import os

LONG = os.environ.get("FAULTS") == "long"
# Seconds after which a test of this package has hung. Shrinking a failure takes minutes.
TIME_LIMIT = 6 * 3600 if LONG else 900
EXAMPLES = 20_000 if LONG else 120

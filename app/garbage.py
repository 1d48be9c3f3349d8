"""How Python looks for garbage in our processes, which stop for as long as it does so."""

import gc

# Objects made since the last look after which the young ones are looked at, and looks at one
# generation after which the next is looked at. By default it is 700, which a batch of requests
# makes; what they make is freed without any such look.
_THRESHOLDS = (10_000, 20, 50)


def spare_what_is_there() -> None:
    """Exempt all that is in memory now, which stays, and look at the rest less often.

    To look through a whole process takes a tenth of a second, in which nothing is answered. To be
    called once a process has started (Python's documentation, "gc.freeze", "gc.set_threshold").
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)

"""Task types that make trouble on purpose, for those who test their own clients and workers.

TROUBLE_TYPES=false leaves them out. Importing this package alone registers none of them.
"""

# What the routes POST /tasks/broken and POST /tasks/retry create.
BROKEN = "broken"
RETRY = "retry"

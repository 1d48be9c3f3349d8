"""From the command line to the exit code: signals, console, and one message for what went wrong."""

import os
import signal
import sys

from app.local import tether
from app.local.console import Console, wants_colour
from app.local.environment import read_options
from app.local.errors import LocalRunError, StopRequested
from app.local.launcher import LocalRun
from app.local.signals import StopSignals


def main(arguments: list[str]) -> int:
    """Run the service until it is stopped, and return the exit code."""
    signals = StopSignals()
    signals.install()
    if "--with-parent" in arguments:
        tether.set_parent_death_signal(signal.SIGTERM)
    output = sys.stdout.fileno()
    console = Console(output, colour=wants_colour(output, os.environ.get("NO_COLOR")))
    try:
        LocalRun(read_options(os.environ), os.environ, console, signals).run()
    except StopRequested:
        console.say("Stopped.")
        return 0
    except LocalRunError as error:
        console.close()
        print(f"Error: {error}", file=sys.stderr)
        return 1
    finally:
        console.close()

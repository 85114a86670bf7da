"""`python -m podtask`: run the controller, inside a cluster or outside of it with a kubeconfig.

`python -m podtask release-finalizers` is for the time after an uninstall.
"""

import sys

from .runtime import main as runtime_main
from .runtime import options, uninstall


def main() -> int:
    """Parse the settings and serve; gives the exit code."""
    arguments = sys.argv[1:]
    if arguments[:1] == [uninstall.COMMAND]:
        return uninstall.run(arguments[1:])
    return runtime_main.run(options.parse(arguments))


if __name__ == "__main__":
    sys.exit(main())

"""`python -m podtask`: run the controller, inside a cluster or, with a kubeconfig, outside of it.

`python -m podtask release-finalizers` cleans up after an uninstall.
"""

import sys

from .runtime import main as runtime_main
from .runtime import options, uninstall


def main() -> int:
    """Run the command that the arguments name; return the exit code."""
    arguments = sys.argv[1:]
    if arguments[:1] == [uninstall.COMMAND]:
        return uninstall.run(arguments[1:])
    return runtime_main.run(options.parse(arguments))


if __name__ == "__main__":
    sys.exit(main())

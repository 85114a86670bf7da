"""`python -m podtask`: run the controller, inside a cluster or outside of it with a kubeconfig."""

import sys

from .runtime import main as runtime_main
from .runtime import settings


def main() -> int:
    """Parse the settings and serve; gives the exit code."""
    return runtime_main.run(settings.parse(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())

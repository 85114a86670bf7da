"""Makes `python -m cluster` work."""

from __future__ import annotations

import sys

from .cli import main

sys.exit(main())

"""Multiplies the number in DATA_POINT by 23 and leaves the product where a PodTask's result is collected."""

import json
import os
import sys
from pathlib import Path

FACTOR = 23
RESULT = Path("/airflow/xcom/return.json")


def main() -> int:
    """Read, multiply, write. Exit code 2 means that the input was wrong, so that no retry is worth while."""
    given = os.environ.get("DATA_POINT")
    if given is None:
        print("DATA_POINT is not set: give the task a number to multiply.", file=sys.stderr)
        return 2
    try:
        number = int(given)
    except ValueError:
        print(f"DATA_POINT must be an integer, not {given!r}.", file=sys.stderr)
        return 2
    product = FACTOR * number
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps({"return_value": str(product)}))
    print(f"{FACTOR} times {number} is {product}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

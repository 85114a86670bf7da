"""Logs for machines (one JSON object a line) or for people; never with the values of environment or results."""

import json
import logging
import sys
from datetime import UTC, datetime

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

_encode = json.JSONEncoder(default=str).encode


class JsonFormatter(logging.Formatter):
    """One object a line: time, level, logger, msg, and whatever was given as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """Format one record."""
        line = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": record.getMessage(),
            **{key: value for key, value in vars(record).items() if key not in _STANDARD},
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _encode(line)


class PlainFormatter(logging.Formatter):
    """Time, level, message and the extras as key=value."""

    def format(self, record: logging.LogRecord) -> str:
        """Format one record."""
        extras = " ".join(f"{k}={v}" for k, v in vars(record).items() if k not in _STANDARD)
        text = f"{self.formatTime(record)} {record.levelname:<7} {record.getMessage()} {extras}".rstrip()
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


def configure(level: str, style: str) -> None:
    """Send everything to standard error in one format."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else PlainFormatter())
    # Nobody prints where a line was written or by which thread, and finding that out costs as much as writing it.
    logging._srcfile = None  # documented, in the HOWTO of logging: "Optimization"
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # kopf speaks of every handler call at INFO; the lines that matter are ours.
    logging.getLogger("kopf").setLevel(logging.WARNING)

"""Log formats: JSON (one object per line) and plain text. The values of variables and results are never logged."""

import json
import logging
import sys
from datetime import UTC, datetime

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

_encode = json.JSONEncoder(default=str).encode


class JsonFormatter(logging.Formatter):
    """One JSON object per line: ts, level, logger, msg, the fields of `extra`, and exception."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text."""
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
    """One line of text: time, level, message, and the fields of `extra` as key=value."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text."""
        extras = " ".join(f"{k}={v}" for k, v in vars(record).items() if k not in _STANDARD)
        text = f"{self.formatTime(record)} {record.levelname:<7} {record.getMessage()} {extras}".rstrip()
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


def configure(level: str, style: str) -> None:
    """Log to standard error; `level` is a name of `logging`, `style` is json or plain."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else PlainFormatter())
    # No format has the source line or the thread, and finding them costs as much as writing the line.
    logging._srcfile = None  # see "Optimization" in the logging HOWTO of Python
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # kopf logs every handler call at INFO.
    logging.getLogger("kopf").setLevel(logging.WARNING)

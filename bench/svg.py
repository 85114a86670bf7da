"""Small plots as SVG text, readable on light and dark pages: lines, and bars that lie."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 640, 340
LEFT, RIGHT, TOP, BOTTOM = 62, 16, 64, 46
BAR = 22
LABEL = 250
STYLE = """<style>
text { font: 12px system-ui, sans-serif; fill: #24292f } .title { font-size: 14px; font-weight: 600 }
.grid { stroke: #8888; stroke-width: .5 } .line { fill: none; stroke-width: 2 } .dashed { stroke-dasharray: 5 4 }
.c0 { stroke: #0969da; fill: #0969da } .c1 { stroke: #cf5b00; fill: #cf5b00 } .c2 { stroke: #1a7f37; fill: #1a7f37 }
.c3 { stroke: #8250df; fill: #8250df } .c4 { stroke: #777; fill: #777 } .c5 { stroke: #bf3989; fill: #bf3989 }
.line { fill: none !important } .back { fill: #fff }
@media (prefers-color-scheme: dark) { text { fill: #d1d9e0 } .back { fill: #0d1117 }
.c0 { stroke: #58a6ff; fill: #58a6ff } .c1 { stroke: #f0883e; fill: #f0883e }
.c2 { stroke: #3fb950; fill: #3fb950 } .c3 { stroke: #bc8cff; fill: #bc8cff } }
</style>"""


@dataclass(frozen=True)
class Series:
    """One line of a plot."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: int
    dashed: bool = False


@dataclass(frozen=True)
class Scale:
    """From values to places."""

    low: float
    high: float
    begin: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, here = (math.log10(max(v, 1e-9)) if self.log else v for v in (self.low, self.high, value))
        return self.begin + (here - low) / ((high - low) or 1) * (self.end - self.begin)

    def ticks(self) -> list[float]:
        """Round values to label."""
        if self.log:
            first, last = round(math.log10(self.low)), round(math.log10(self.high))
            return [10.0**power for power in range(first, last + 1)]
        step = 10 ** math.floor(math.log10((self.high - self.low) / 4))
        step *= next(f for f in (1, 2, 5, 10) if (self.high - self.low) / (step * f) <= 6)
        return [step * n for n in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]


def lines(title: str, x_name: str, y_name: str, series: Sequence[Series], *, log: bool = False) -> str:
    """Plot lines over a common axis; `log` is the upright one's."""
    xs = [x for one in series for x, _ in one.points]
    ys = [y for one in series for _, y in one.points]
    low = 10.0 ** math.floor(math.log10(min(ys))) if log else 0.0
    high = 10.0 ** math.ceil(math.log10(max(ys))) if log else max(ys) * 1.08
    across = Scale(0, max(xs) * 1.02, LEFT, WIDTH - RIGHT)
    up = Scale(low, high, HEIGHT - BOTTOM, TOP, log)
    parts = [_text(LEFT, 20, title, "title"), _text(WIDTH / 2, HEIGHT - 8, x_name, anchor="middle")]
    parts.append(_text(LEFT, TOP - 6, y_name))
    for tick in up.ticks():
        parts.append(_line(LEFT, up(tick), WIDTH - RIGHT, up(tick), "grid"))
        parts.append(_text(LEFT - 6, up(tick) + 4, f"{tick:,g}", anchor="end"))
    parts += [_text(across(tick), HEIGHT - BOTTOM + 18, f"{tick:,g}", anchor="middle") for tick in across.ticks()]
    place = float(LEFT)
    for one in series:
        look = f"c{one.colour}{' dashed' if one.dashed else ''}"
        drawn = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in one.points)
        parts.append(f'<polyline class="line {look}" points="{drawn}"/>')
        parts += [f'<circle class="c{one.colour}" cx="{across(x):.1f}" cy="{up(y):.1f}" r="3"/>' for x, y in one.points]
        parts += [_line(place, 36, place + 20, 36, f"line {look}"), _text(place + 25, 40, one.name)]
        place += 44 + 6.6 * len(one.name)
    return _svg(HEIGHT, parts)


def bars(title: str, rows: Sequence[tuple[str, float, int]]) -> str:
    """Plot one bar for each name and value, in a colour."""
    along = Scale(0, max(value for _, value, _ in rows), LABEL, WIDTH - 60)
    parts = [_text(12, 20, title, "title")]
    for number, (name, value, colour) in enumerate(rows):
        top = 36 + number * (BAR + 6)
        width = along(value) - LABEL
        parts.append(_text(LABEL - 8, top + 15, name, anchor="end"))
        parts.append(f'<rect class="c{colour}" x="{LABEL}" y="{top}" width="{width:.1f}" height="{BAR}"/>')
        parts.append(_text(along(value) + 6, top + 15, f"{value:.3g}"))
    return _svg(44 + len(rows) * (BAR + 6), parts)


def _svg(height: int, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">'
    back = f'<rect class="back" width="{WIDTH}" height="{height}"/>'
    return "\n".join([head, STYLE, back, *parts, "</svg>", ""])


def _text(x: float, y: float, text: str, look: str = "", anchor: str = "start") -> str:
    return f'<text class="{look}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, look: str) -> str:
    return f'<line class="{look}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'

"""Bars as SVG, without a library for it: a page shows the picture as it shows a table, in light and dark."""

from collections.abc import Mapping
from html import escape
from pathlib import Path

from bench.harness import say

_ROW, _NAMES, _BARS, _TOP = 24, 300, 420, 56

#: Checkouts a second by pgbench's separate statements on the same machine, as docs/performance.md tells them.
PEERS = {
    "psycopg, outbox and relay, bare": 0.73,
    "pg-boss (Node)": 0.41,
    "pgqueuer": 0.35,
    "graphile-worker (Node)": 0.29,
    "procrastinate": 0.19,
    "ORM, a query a line, no follow-up": 0.12,
    "DBOS, workflow enqueued": 0.10,
    "Celery and SQLAlchemy's ORM": 0.07,
    "DBOS, workflow called": 0.03,
}

_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600; font-size: 15px }
.bar { fill: #6e7f96 } .ours { fill: #2f6fde } .over { fill: #c8452f }
.mark { stroke: #24292f; stroke-dasharray: 4 3 }
@media (prefers-color-scheme: dark) { text { fill: #d6dce4 } .mark { stroke: #d6dce4 } }
"""


def bars(
    title: str,
    values: Mapping[str, float],
    marks: Mapping[str, float],
    kinds: Mapping[str, str] | None = None,
) -> str:
    """Draw a bar for each value and a line across all for each mark; `kinds` gives bars' classes by name."""
    most = max(*values.values(), *marks.values()) * 1.05
    height = _TOP + _ROW * len(values) + 12
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_NAMES + _BARS + 70} {height}" role="img">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style>",
        f'<text class="title" x="8" y="20">{escape(title)}</text>',
    ]
    for row, (name, value) in enumerate(values.items()):
        y = _TOP + _ROW * row
        width = max(1.0, _BARS * value / most)
        kind = (kinds or {}).get(name, "bar")
        parts += [
            f'<text x="{_NAMES - 10}" y="{y + 16}" text-anchor="end">{escape(name)}</text>',
            f'<rect class="{kind}" x="{_NAMES}" y="{y + 4}" width="{width:.1f}" height="{_ROW - 8}" rx="2"/>',
            f'<text x="{_NAMES + width + 6:.1f}" y="{y + 16}">{value:.2f}</text>',
        ]
    for name, value in marks.items():
        x = _NAMES + _BARS * value / most
        parts += [
            f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 4}" y2="{height - 8}"/>',
            f'<text x="{x:.1f}" y="{_TOP - 10}" text-anchor="middle">{escape(name)}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def growth(ratios: Mapping[str, float], most: float, directory: Path) -> None:
    """Draw what each call costs in the large shop by the small one."""
    kinds = {name: "over" if ratio > most else "ours" for name, ratio in ratios.items()}
    title = "Cost of a call in the large shop, as a multiple of the small one"
    _write(directory / "growth.svg", bars(title, ratios, {"the same": 1.0, f"{most} x": most}, kinds))


def checkout(ratio: float, directory: Path) -> None:
    """Draw the checkout's rate beside the peers' and the limit, each by pgbench's separate statements."""
    ours = "this handler, whole"
    values = dict(sorted({**PEERS, ours: ratio}.items(), key=lambda each: -each[1]))
    title = "Checkouts a second, 8 at once, by pgbench with the same SQL"
    _write(directory / "checkout.svg", bars(title, values, {"pgbench": 1.0}, {ours: "ours"}))


def _write(path: Path, picture: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(picture, encoding="utf-8")
    say(f"A picture is in {path}.")

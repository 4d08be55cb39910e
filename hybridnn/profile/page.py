"""A profile as one HTML page: table, timelines as SVG, explanation. Nothing is loaded from elsewhere."""
from html import escape

__all__ = ["page"]

WIDTH, ROW = 960, 34
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; color: #1c2733 }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse } th, td { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid #d5dce3 }
th:first-child, td:first-child { text-align: left } .different { color: #b00020; font-weight: 600 }
pre { background: #f4f6f8; padding: 1rem; overflow-x: auto; font-size: 13px } svg { width: 100%; height: auto }
rect.eager { fill: #d98c3f } rect.traced { fill: #2f7dbd } rect.call { opacity: .25 } text { font: 12px system-ui, sans-serif }
"""


def page(report):
    """The page's text."""
    titles, *rows = report.cells()
    table = "".join([_row("th", titles), *[_row("td", r) for r in rows]])
    notes = "".join(f'<p{_mark(note)}>{escape(note)}</p>' for note in report.notes)
    title = f"profile of {escape(report.name)}"
    head = f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n<title>{title}</title><style>{STYLE}</style></head>'
    parts = [head, f"<body><h1>{title}</h1>", f"<table>{table}</table>", notes,
             "<h2>One call of each kind</h2>", _timelines(report.spans),
             "<h2>What the trace has learned</h2>", f"<pre>{escape(str(report.explanation))}</pre>", "</body></html>\n"]
    return "\n".join(parts)


def _row(tag, cells):
    return "<tr>" + "".join(f"<{tag}>{escape(c)}</{tag}>" for c in cells) + "</tr>"


def _mark(note):
    return ' class="different"' if note.startswith("DIFFERENT") else ""


def _timelines(spans):
    """A band per kind of call, both to one scale, so that the shorter one is the faster one."""
    calls = {s.track: s for s in spans if s.name == "call"}
    longest = max([s.end - s.start for s in calls.values()], default=1.0) or 1.0
    bands = []
    for k, (track, call) in enumerate(calls.items()):
        y = k * (ROW + 26)
        bars = [_bar(s, call.start, longest, y + 18) for s in spans if s.track == track]
        bands.append(f'<text x="0" y="{y + 12}">{escape(track)}: {(call.end - call.start) * 1e6:.0f} us</text>' + "".join(bars))
    return f'<svg viewBox="0 0 {WIDTH} {len(calls) * (ROW + 26)}" role="img" aria-label="timelines">{"".join(bands)}</svg>'


def _bar(span, origin, longest, y):
    x, width = (span.start - origin) / longest * WIDTH, max((span.end - span.start) / longest * WIDTH, 0.5)
    tip = "\n".join([f"{span.name}: {(span.end - span.start) * 1e6:.1f} us", *[f"{s.kind} {s.name}" for s in span.steps]])
    kind = f"{span.track} call" if span.name == "call" else span.track
    return f'<rect class="{kind}" x="{x:.2f}" y="{y}" width="{width:.2f}" height="{ROW}"><title>{escape(tip)}</title></rect>'

"""A graph as one self-contained SVG, for light and dark mode, with a text for every colour."""

import itertools
from collections.abc import Sequence
from html import escape

from ratesflow.workflow.diagram.graph import Edge, Graph, Node, node_lines
from ratesflow.workflow.diagram.layout import Point, lay_out

BOX_WIDTH, BOX_HEIGHT = 196, 50
COLUMN, LAYER = 216, 86
MARGIN, HEAD = 24, 48
LETTERS, SMALL_LETTERS = 30, 32  # that fit into a box, in the large and in the small font

STYLE = """
.rf-graph { --ink: #18181b; --soft: #71717a; --paper: #ffffff; font: 12px system-ui, sans-serif; }
.rf-graph .paper { fill: var(--paper); }
.rf-graph text { fill: var(--ink); text-anchor: middle; }
.rf-graph .title { font-size: 15px; font-weight: 600; text-anchor: start; }
.rf-graph .kind, .rf-graph .label { fill: var(--soft); font-size: 10.5px; }
.rf-graph .label { paint-order: stroke; stroke: var(--paper); stroke-width: 4px; }
.rf-graph .name { font-weight: 600; }
.rf-graph .box { stroke-width: 1.3; fill: #f4f4f5; stroke: #a1a1aa; }
.rf-graph .edge { fill: none; stroke: #a1a1aa; stroke-width: 1.2; }
.rf-graph .head { fill: #a1a1aa; }
.rf-graph .caught { stroke-dasharray: 4 4; }
.rf-graph .taken { stroke: var(--ink); stroke-width: 2.2; }
.rf-graph .head.taken { fill: var(--ink); stroke: none; }
.rf-graph.execution .waiting, .rf-graph.execution .untaken { opacity: .42; }
.rf-graph .running .box { fill: #dbeafe; stroke: #2563eb; stroke-width: 2.4; }
.rf-graph .good .box { fill: #dcfce7; stroke: #16a34a; }
.rf-graph .rejected .box { fill: #fef3c7; stroke: #d97706; stroke-width: 2; }
.rf-graph .bad .box { fill: #fee2e2; stroke: #dc2626; stroke-width: 2; }
.rf-graph .ended .box { fill: #f3e8ff; stroke: #9333ea; stroke-width: 2; }
@media (prefers-color-scheme: dark) {
.rf-graph { --ink: #f4f4f5; --soft: #a1a1aa; --paper: #18181b; }
.rf-graph .box { fill: #27272a; stroke: #71717a; }
.rf-graph .edge { stroke: #71717a; }
.rf-graph .head { fill: #71717a; }
.rf-graph .taken { stroke: var(--ink); }
.rf-graph .running .box { fill: #172554; stroke: #60a5fa; }
.rf-graph .good .box { fill: #052e16; stroke: #4ade80; }
.rf-graph .rejected .box { fill: #451a03; stroke: #fbbf24; }
.rf-graph .bad .box { fill: #450a0a; stroke: #f87171; }
.rf-graph .ended .box { fill: #3b0764; stroke: #c084fc; }
}
"""


def svg(graph: Graph, *, alone: bool = True) -> str:
    """Return a graph as an SVG document; with `alone` false without its STYLE, for a page that includes it."""
    layout = lay_out(graph)
    xs = [x for route in layout.routes.values() for x, _ in route] + [x for x, _ in layout.places.values()]
    left, right = min(xs), max(xs)
    width = (right - left) * COLUMN + BOX_WIDTH + 2 * MARGIN
    height = max(y for _, y in layout.places.values()) * LAYER + BOX_HEIGHT + HEAD + MARGIN

    def at(point: Point) -> Point:
        return (point[0] - left) * COLUMN + BOX_WIDTH / 2 + MARGIN, point[1] * LAYER + BOX_HEIGHT / 2 + HEAD

    kind = "rf-graph execution" if graph.is_execution else "rf-graph"
    edges = sorted(graph.edges, key=lambda edge: edge.taken)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="{kind}" role="img" width="{width:.0f}" '
        f'height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}">',
        f"<title>{_text(graph.title)}</title>",
        f"<desc>{_text(description(graph))}</desc>",
        f"<style>{STYLE}</style>" if alone else "",
        f'<rect class="paper" width="{width:.0f}" height="{height:.0f}"/>',
        f'<text class="title" x="{MARGIN}" y="28">{_text(graph.title)}</text>',
        *(_edge(edge, [at(point) for point in layout.routes[edge.source, edge.target]]) for edge in edges),
        *(_label(edge, [at(point) for point in layout.routes[edge.source, edge.target]]) for edge in edges),
        *(_node(node, at(layout.places[node.name])) for node in graph.nodes),
        "</svg>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def description(graph: Graph) -> str:
    """Return a text alternative: the status of each state that was entered."""
    if not graph.is_execution:
        return f"{len(graph.nodes)} states: " + ", ".join(node.name for node in graph.nodes)
    return "; ".join(f"{node.name}: {lines[0]}" for node in graph.nodes if (lines := node_lines(node))) or "not started"


def _node(node: Node, centre: Point) -> str:
    x, y = centre
    left, top = x - BOX_WIDTH / 2, y - BOX_HEIGHT / 2
    round_ends = {"Choice": 6, "Succeed": 22, "Fail": 22}.get(node.kind, 6)
    box = (
        f'<rect class="box" x="{left:.1f}" y="{top:.1f}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="{round_ends}"/>'
    )
    if node.kind == "Choice":
        near, far, up, down = left + 12, left + BOX_WIDTH - 12, top, top + BOX_HEIGHT
        points = [(left, y), (near, up), (far, up), (left + BOX_WIDTH, y), (far, down), (near, down)]
        box = f'<polygon class="box" points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in points)}"/>'
    lines = _wrapped((node_lines(node) or [node.kind.lower()])[0])
    first = y - 3 - 6 * (len(lines) - 1)
    tooltip = ": ".join(part for part in (node.name, node.comment, node.status, node.notes) if part)
    return (
        f'<g class="{node.tone}"><title>{_text(tooltip)}</title>{box}'
        f'<text class="name" x="{x:.1f}" y="{first:.1f}">{_text(_short(node.name, LETTERS))}</text>'
        + "".join(
            f'<text class="kind" x="{x:.1f}" y="{first + 15 + 12.5 * number:.1f}">{_text(line)}</text>'
            for number, line in enumerate(lines)
        )
        + "</g>"
    )


def _wrapped(text: str) -> list[str]:
    """Return a text in one line or, split at a dot between its parts, in two."""
    lines = [""]
    for part in text.split(" · "):
        longer = f"{lines[-1]} · {part}" if lines[-1] else part
        if lines[-1] and len(longer) > SMALL_LETTERS and len(lines) == 1:
            lines.append(part)
        else:
            lines[-1] = longer
    return [_short(line, SMALL_LETTERS) for line in lines]


def _edge(edge: Edge, points: Sequence[Point]) -> str:
    kind = " ".join(
        word for word, holds in (("caught", edge.caught), ("taken", edge.taken), ("untaken", not edge.taken)) if holds
    )
    last_x, last_y = points[-1]
    down = 1 if last_y >= points[0][1] else -1
    half = down * BOX_HEIGHT / 2
    tip_x, tip_y = last_x, last_y - half - down * 7
    path = []
    for (ax, ay), (bx, by) in itertools.pairwise(points):
        # Curves are between the layers; in a layer, an edge is vertical, so that it does not touch the boxes beside it.
        start, end = ay + half, tip_y if by == last_y else by - half
        middle = (start + end) / 2
        path.append(f"{ax:.1f},{start:.1f} C{ax:.1f},{middle:.1f} {bx:.1f},{middle:.1f} {bx:.1f},{end:.1f}")
    arrow = f"{tip_x - 4:.1f},{tip_y:.1f} {tip_x + 4:.1f},{tip_y:.1f} {tip_x:.1f},{tip_y + down * 7:.1f}"
    return f'<path class="edge {kind}" d="M{" L".join(path)}"/><polygon class="head {kind}" points="{arrow}"/>'


def _label(edge: Edge, points: Sequence[Point]) -> str:
    """Return the label of an edge, near the next layer, where edges no longer overlap."""
    if not edge.label or (edge.caught and not edge.taken):
        return ""
    (x0, y0), (x1, y1) = points[0], points[1]
    start = y0 + BOX_HEIGHT / 2
    x, y = x0 + (x1 - x0) * 0.75, start + (y1 - BOX_HEIGHT / 2 - start) * 0.62 + 4
    if abs(x1 - x0) > COLUMN / 2:  # the edge is nearly horizontal there: place the label above it
        y -= 11
    return f'<text class="label{"" if edge.taken else " untaken"}" x="{x:.1f}" y="{y:.1f}">{_text(edge.label)}</text>'


def _short(text: str, letters: int) -> str:
    return text if len(text) <= letters else text[: letters - 1] + "…"


def _text(text: str) -> str:
    """Return a text escaped for XML, without the control characters that XML cannot represent."""
    return escape("".join(character for character in text if character.isprintable()))

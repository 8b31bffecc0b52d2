"""The layout of a graph: layers from top to bottom, by igraph's Sugiyama layout."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ratesflow.workflow.client.errors import RatesflowError
from ratesflow.workflow.diagram.graph import Edge, Graph

Point = tuple[float, float]


class LayoutMissingError(RatesflowError):
    """The layout library is not installed; the text names the package."""


@dataclass(frozen=True)
class Layout:
    """The position of each state by its name, and the points that each edge passes, its ends included.

    The unit is one column across and one layer down.
    """

    places: Mapping[str, Point]
    routes: Mapping[tuple[str, str], Sequence[Point]]


def lay_out(graph: Graph) -> Layout:
    """Return a layout in which edges lead down; one that closes a cycle leads up. Raises LayoutMissingError."""
    try:
        import igraph
    except ImportError as error:
        raise LayoutMissingError(
            "The SVG graph needs igraph, which is not installed: pip install 'ratesflow[cli]', or write Mermaid "
            "instead (-o FILE.mmd)."
        ) from error
    names = [node.name for node in graph.nodes]
    layers = _layers(names, graph.edges)
    vertices: list[tuple[str, int]] = [(name, layers[name]) for name in names]
    number = {vertex: place for place, vertex in enumerate(vertices)}
    chains: dict[tuple[str, str], list[int]] = {}
    for edge in graph.edges:
        start, end = layers[edge.source], layers[edge.target]
        way = 1 if end >= start else -1
        # Edges to one state share their points, so that nine edges to the same target are drawn as one.
        lane = [(f"to {edge.target} by {way}", layer) for layer in range(start + way, end, way)]
        for point in lane:
            if point not in number:
                number[point] = len(vertices)
                vertices.append(point)
        chain = [(edge.source, start), *lane, (edge.target, end)]
        chains[edge.source, edge.target] = [number[vertex] for vertex in chain]
    depths = [layer for _, layer in vertices]
    pairs = {(min(pair, key=depths.__getitem__), max(pair, key=depths.__getitem__)) for pair in _pairs(chains.values())}
    drawn = igraph.Graph(n=len(depths), edges=sorted(pairs), directed=True)
    found = drawn.layout_sugiyama(layers=depths, hgap=1, vgap=1, maxiter=500)
    points = _apart([(float(x), float(depth)) for (x, _), depth in zip(found, depths, strict=False)])
    routes = {pair: [points[place] for place in chain] for pair, chain in chains.items()}
    return Layout({name: points[number[name, layers[name]]] for name in names}, routes)


def _apart(points: Sequence[Point]) -> list[Point]:
    """Move the points of each layer right until they are a column apart: igraph's averages can overlap."""
    moved = list(points)
    for layer in {y for _, y in points}:
        free = float("-inf")
        for place in sorted((p for p, (_, y) in enumerate(points) if y == layer), key=points.__getitem__):
            moved[place] = (max(points[place][0], free), layer)
            free = moved[place][0] + 1
    return moved


def _pairs(chains: Iterable[Sequence[int]]) -> Iterable[tuple[int, int]]:
    for chain in chains:
        yield from ((one, two) for one, two in itertools.pairwise(chain) if one != two)


def _layers(names: Sequence[str], edges: Sequence[Edge]) -> dict[str, int]:
    """Return the layer of each state: one below its lowest predecessor; edges that close a cycle are ignored."""
    after: dict[str, list[str]] = {name: [] for name in names}
    for edge in edges:
        after[edge.source].append(edge.target)
    order, closing = _order(names, after)
    layers = dict.fromkeys(names, 0)
    for name in order:
        for target in after[name]:
            if (name, target) not in closing:
                layers[target] = max(layers[target], layers[name] + 1)
    return layers


def _order(names: Sequence[str], after: Mapping[str, Sequence[str]]) -> tuple[list[str], set[tuple[str, str]]]:
    """Return the states, each after its predecessors, and the edges that close a cycle."""
    done: list[str] = []
    closing: set[tuple[str, str]] = set()
    open_states: set[str] = set()

    def visit(name: str) -> None:
        open_states.add(name)
        for target in after[name]:
            if target in open_states:
                closing.add((name, target))
            elif target not in done:
                visit(target)
        open_states.remove(name)
        done.append(name)

    for name in names:
        if name not in done:
            visit(name)
    return done[::-1], closing

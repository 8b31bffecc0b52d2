"""The layout of a graph by the method of Sugiyama: layers from top to bottom, few crossings, straight lines.

An edge that spans layers passes a dummy vertex in each layer between its ends, so that all connections are between
neighbouring layers. Positions are the averages of those of connected vertices.
"""

import itertools
from bisect import bisect, bisect_right, insort
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from math import inf

from ratesflow.workflow.diagram.graph import Edge, Graph

Point = tuple[float, float]

Vertex = tuple[str, int, int]
"""A state: its name, 0, and its layer. Or a dummy: the target of its edges, 1 if they lead down or -1 if up, and its
layer."""

Links = Mapping[Vertex, Mapping[Vertex, float]]
"""The vertices of the next layer that a vertex is connected to, each with the weight of the connection."""

Distances = Mapping[int, Mapping[int, float]]
"""The columns next to a column on one side, each with the least distance."""

SWEEPS = 24
"""How often the rows are sorted, and how often the columns are moved."""


@dataclass(frozen=True)
class Layout:
    """The position of each state by its name, and the points that each edge passes, its ends included.

    The unit is one column across and one layer down.
    """

    places: Mapping[str, Point]
    routes: Mapping[tuple[str, str], Sequence[Point]]


def lay_out(graph: Graph) -> Layout:
    """Return a layout in which edges lead down; an edge that closes a cycle leads up.

    The same graph always gives the same layout.
    """
    names = [node.name for node in graph.nodes]
    layers = _layers(names, graph.edges)
    states: list[Vertex] = [(name, 0, layers[name]) for name in names]
    chains = {(edge.source, edge.target): _chain(edge, layers) for edge in graph.edges}
    rows: list[list[Vertex]] = [[] for _ in range(max(layers.values(), default=-1) + 1)]
    for vertex in dict.fromkeys(itertools.chain(states, *chains.values())):
        rows[vertex[2]].append(vertex)
    above, below = _links(graph.edges, chains)
    across = _across(_sorted(rows, above, below), above, below)
    points = {vertex: (across[vertex], float(vertex[2])) for vertex in across}
    routes = {pair: [points[vertex] for vertex in chain] for pair, chain in chains.items()}
    return Layout({vertex[0]: points[vertex] for vertex in states}, routes)


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
    done: dict[str, None] = {}
    closing: set[tuple[str, str]] = set()
    for start in names:
        path = {} if start in done else {start: iter(after[start])}
        while path:
            name, targets = next(reversed(path.items()))
            target = next((one for one in targets if one in path or one not in done), None)
            if target is None:
                del path[name]
                done[name] = None
            elif target in path:
                closing.add((name, target))
            else:
                path[target] = iter(after[target])
    return list(done)[::-1], closing


def _chain(edge: Edge, layers: Mapping[str, int]) -> list[Vertex]:
    """Return the vertices of an edge. Edges to one state share their dummies, and so are drawn as one line."""
    start, end = layers[edge.source], layers[edge.target]
    way = 1 if end >= start else -1
    dummies = [(edge.target, way, layer) for layer in range(start + way, end, way)]
    return [(edge.source, 0, start), *dummies, (edge.target, 0, end)]


def _links(edges: Iterable[Edge], chains: Mapping[tuple[str, str], Sequence[Vertex]]) -> tuple[Links, Links]:
    """Return the connections of each vertex to the layer above, and to the layer below.

    Connections of dummies weigh most, which keeps long edges straight; edges that follow an error weigh least.
    """
    above: dict[Vertex, dict[Vertex, float]] = defaultdict(dict)
    below: dict[Vertex, dict[Vertex, float]] = defaultdict(dict)
    for edge in edges:
        for pair in itertools.pairwise(chains[edge.source, edge.target]):
            upper, lower = sorted(pair, key=lambda vertex: vertex[2])
            if upper != lower:
                dummies = _is_dummy(upper) + _is_dummy(lower)
                weight = (0.2, 0.1, 8.0)[dummies] if edge.caught else (2.0, 1.0, 8.0)[dummies]
                below[upper][lower] = above[lower][upper] = below[upper].get(lower, 0) + weight
    return above, below


def _is_dummy(vertex: Vertex) -> bool:
    return vertex[1] != 0


def _sorted(rows: Sequence[Sequence[Vertex]], above: Links, below: Links) -> Sequence[Sequence[Vertex]]:
    """Return the rows in the order with the fewest crossings among those that were tried.

    Each row is sorted by the average position of its neighbours, from top to bottom and from bottom to top in turn.
    """
    best, fewest = rows, _crossings(rows, below)
    for sweep in range(SWEEPS):
        links, way = (below, -1) if sweep % 2 else (above, 1)
        ties = -1 if sweep // 2 % 2 else 1  # equal averages keep their order, or reverse it
        order: dict[Vertex, int] = {}
        found: list[Sequence[Vertex]] = []
        for row in rows[::way]:
            averages = {vertex: _average(vertex, number, links, order) for number, vertex in enumerate(row)}
            found.append(sorted(row[::ties], key=averages.__getitem__))
            order = {vertex: number for number, vertex in enumerate(found[-1])}
        rows = found[::way]
        count = _crossings(rows, below)
        if count < fewest:
            best, fewest = rows, count
    return best


def _average(vertex: Vertex, number: int, links: Links, order: Mapping[Vertex, int]) -> float:
    """Return the average position of the neighbours of a vertex, or its own number without neighbours."""
    near = [order[one] for one in links.get(vertex, ())]
    return sum(near) / len(near) if near else number


def _crossings(rows: Sequence[Sequence[Vertex]], below: Links) -> int:
    """Return how many pairs of connections cross."""
    count = 0
    for upper, lower in itertools.pairwise(rows):
        order = {vertex: number for number, vertex in enumerate(lower)}
        ends: list[int] = []
        for vertex in upper:
            for end in sorted(order[one] for one in below.get(vertex, ())):
                count += len(ends) - bisect_right(ends, end)
                insort(ends, end)
    return count


def _across(rows: Sequence[Sequence[Vertex]], above: Links, below: Links) -> dict[Vertex, float]:
    """Return the horizontal position of each vertex, which is that of its column.

    Each column moves in turn to the average position of the columns that it is connected to, as far as the columns to
    its left and right leave room.
    """
    columns = _columns(rows, above, below)
    left, right = _distances(rows, columns)
    near: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for upper, lower, weight in _each(below):
        one, two = columns[upper], columns[lower]
        if one != two:
            near[one].append((two, weight))
            near[two].append((one, weight))
    order = list(TopologicalSorter(left).static_order())
    place: dict[int, float] = {}
    for column in order:
        place[column] = max((place[one] + distance for one, distance in left[column].items()), default=0.0)
    for sweep in range(SWEEPS):
        for column in order if sweep % 2 else reversed(order):
            lowest = max((place[one] + distance for one, distance in left[column].items()), default=-inf)
            highest = min((place[one] - distance for one, distance in right[column].items()), default=inf)
            total = sum(weight for _, weight in near[column])
            if total:
                average = sum(place[one] * weight for one, weight in near[column]) / total
                place[column] = max(lowest, min(highest, average))
    return {vertex: place[column] for vertex, column in columns.items()}


def _columns(rows: Sequence[Sequence[Vertex]], above: Links, below: Links) -> dict[Vertex, int]:
    """Return the column of each vertex: vertices on one vertical line, which follows the heaviest connections.

    Connections that cross one another are not all in columns. Where several edges join a long edge, none of them is in
    its column.
    """
    order = {vertex: number for row in rows for number, vertex in enumerate(row)}
    lines: dict[int, list[tuple[int, int]]] = defaultdict(list)
    upwards: dict[Vertex, Vertex] = {}
    continued: set[Vertex] = set()
    for upper, lower, _ in sorted(_each(below), key=lambda link: -link[2]):
        line, others = (order[upper], order[lower]), lines[upper[2]]
        place = bisect(others, line)
        crosses = any(end > line[1] for _, end in others[:place]) or any(end < line[1] for _, end in others[place:])
        ends = above[lower] if _is_dummy(lower) else below[upper]
        joins = _is_dummy(upper) != _is_dummy(lower) and len(ends) > 1
        if not (crosses or joins or lower in upwards or upper in continued):
            others.insert(place, line)
            continued.add(upper)
            upwards[lower] = upper
    columns: dict[Vertex, int] = {}
    for vertex in itertools.chain(*rows):
        columns[vertex] = columns[upwards[vertex]] if vertex in upwards else len(columns)
    return columns


def _distances(rows: Sequence[Sequence[Vertex]], columns: Mapping[Vertex, int]) -> tuple[Distances, Distances]:
    """Return the least distances of each column to its left, and to its right. Dummies need less room than boxes."""
    left: dict[int, dict[int, float]] = {column: {} for column in columns.values()}
    right: dict[int, dict[int, float]] = {column: {} for column in columns.values()}
    for row in rows:
        for pair in itertools.pairwise(row):
            one, two = (columns[vertex] for vertex in pair)
            distance = (1.0, 0.7, 0.3)[sum(map(_is_dummy, pair))]
            left[two][one] = right[one][two] = max(distance, left[two].get(one, 0))
    return left, right


def _each(links: Links) -> Iterable[tuple[Vertex, Vertex, float]]:
    return [(upper, lower, weight) for upper, lowers in links.items() for lower, weight in lowers.items()]

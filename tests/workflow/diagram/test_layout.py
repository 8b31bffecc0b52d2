"""The layout of graphs: the packaged machine, and random graphs."""

import itertools
import json
import re
import subprocess
import sys
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from ratesflow.workflow.diagram.graph import Edge, Graph, Node, machine_graph
from ratesflow.workflow.diagram.layout import Layout, lay_out
from ratesflow.workflow.diagram.svg import BOX_WIDTH, COLUMN, svg
from ratesflow.workflow.placeholders import definition_text

MACHINE = machine_graph(json.loads(definition_text()))
CROSSINGS_OF_IGRAPH = 8  # with igraph 1.0.0, which laid out this machine before
SVG = {"svg": "http://www.w3.org/2000/svg"}
TO_COMMITTED = (
    "Defaults", "ApplyDefaults", "ValidateInShards?", "Validate", "ReadValidateResult", "Accepted?", "LoadInShards?",
    "Load", "ReadLoadResult", "Commit", "ReadCommitResult", "Committed?", "Committed",
)  # fmt: skip


def graph_of(size: int, pairs: list[tuple[int, int]]) -> Graph:
    """Return a graph of numbered states; every third edge follows an error."""
    nodes = [Node(f"s{number}", "Pass") for number in range(size)]
    edges = [Edge(f"s{one}", f"s{two}", caught=place % 3 == 2) for place, (one, two) in enumerate(pairs)]
    return Graph("random", nodes, edges)


@st.composite
def graphs(draw, cycles: bool = False) -> Graph:
    """Return a random graph, in which edges lead to a higher number unless there may be cycles."""
    size = draw(st.integers(1, 14))
    pairs = draw(st.lists(st.tuples(st.integers(0, size - 1), st.integers(0, size - 1)), unique=True, max_size=30))
    return graph_of(size, pairs if cycles else [pair for pair in pairs if pair[0] < pair[1]])


def assert_nothing_overlaps(layout: Layout) -> None:
    """No two boxes overlap, and no edge passes through the box of another state."""
    for one, two in itertools.combinations(layout.places.values(), 2):
        assert one[1] != two[1] or abs(one[0] - two[0]) > 1 - 1e-9
    for route in layout.routes.values():
        for point in route[1:-1]:
            nearest = min((abs(x - point[0]) for x, y in layout.places.values() if y == point[1]), default=1.0)
            assert nearest * COLUMN > BOX_WIDTH / 2 + 10


def assert_edges_run_down(graph: Graph, layout: Layout) -> None:
    """Each edge starts and ends at its states, and each of its points is one layer below the one before."""
    assert set(layout.routes) == {(edge.source, edge.target) for edge in graph.edges}
    for (source, target), route in layout.routes.items():
        assert (route[0], route[-1]) == (layout.places[source], layout.places[target])
        assert all(below[1] - above[1] == 1 for above, below in itertools.pairwise(route))


def crossings(layout: Layout) -> int:
    """Return how many pairs of lines cross; edges that share a line count once."""
    lines = {pair for route in layout.routes.values() for pair in itertools.pairwise(route)}
    return sum(
        one[0][1] == two[0][1] and (one[0][0] - two[0][0]) * (one[1][0] - two[1][0]) < 0
        for one, two in itertools.combinations(lines, 2)
    )


def test_machine_has_no_overlaps_and_runs_down():
    """In the packaged machine, no two boxes overlap, and each edge runs down."""
    layout = lay_out(MACHINE)
    assert_nothing_overlaps(layout)
    assert_edges_run_down(MACHINE, layout)


def test_machine_has_no_more_crossings_than_before():
    """The edges of the packaged machine cross no more often than in the layout of igraph."""
    assert crossings(lay_out(MACHINE)) <= CROSSINGS_OF_IGRAPH


def test_path_of_a_committed_batch_is_one_vertical_line():
    """The states that a small batch passes until it is committed are below one another."""
    places = lay_out(MACHINE).places
    assert len({places[name][0] for name in TO_COMMITTED}) == 1


@given(graphs())
def test_acyclic_graphs_have_no_overlaps_and_run_down(graph):
    """In an acyclic graph, no two boxes overlap, and each edge runs down."""
    layout = lay_out(graph)
    assert_nothing_overlaps(layout)
    assert_edges_run_down(graph, layout)


@given(graphs(cycles=True))
def test_cyclic_graphs_have_no_overlaps(graph):
    """A graph with cycles and self-loops is laid out without overlaps, each edge in one direction, and drawn."""
    layout = lay_out(graph)
    assert_nothing_overlaps(layout)
    for route in layout.routes.values():
        assert len({below[1] - above[1] for above, below in itertools.pairwise(route)}) == 1
    assert ElementTree.fromstring(svg(graph)).tag.endswith("svg")


def test_a_long_chain_is_one_vertical_line():
    """A chain of 2,000 states, more than Python's recursion limit, is laid out on one line."""
    layout = lay_out(graph_of(2000, list(itertools.pairwise(range(2000)))))
    assert set(layout.places.values()) == {(0.0, float(layer)) for layer in range(2000)}


def test_the_same_graph_gives_the_same_picture():
    """The picture of the packaged machine does not depend on the process that draws it."""
    program = (
        "import json; from ratesflow.workflow.diagram import graph, svg; from ratesflow.workflow import placeholders\n"
        "print(svg.svg(graph.machine_graph(json.loads(placeholders.definition_text()))), end='')"
    )
    for seed in ("1", "2"):
        command = [sys.executable, "-P", "-c", program]
        drawn = subprocess.run(command, env={"PYTHONHASHSEED": seed}, capture_output=True, check=True)
        assert drawn.stdout.decode() == svg(MACHINE)


def boxes(root: ElementTree.Element) -> list[list[tuple[float, float]]]:
    """Return the corners of each box in a picture."""
    found = []
    for rect in root.iterfind(".//svg:rect[@class='box']", SVG):
        x, y, width, height = (float(rect.get(name, "")) for name in ("x", "y", "width", "height"))
        found.append([(x, y), (x + width, y + height)])
    return found + [numbers(one.get("points", "")) for one in root.iterfind(".//svg:polygon[@class='box']", SVG)]


def numbers(text: str) -> list[tuple[float, float]]:
    """Return the points that a path or a polygon consists of."""
    return [(float(x), float(y)) for x, y in re.findall(r"(-?[\d.]+),(-?[\d.]+)", text)]


def overlap(one: list[tuple[float, float]], two: list[tuple[float, float]]) -> bool:
    """Return whether the rectangles around two lists of points have a part in common."""
    return all(
        max(min(a), min(b)) < min(max(a), max(b)) or min(b) < min(a) == max(a) < max(b)
        for a, b in zip(zip(*one, strict=True), zip(*two, strict=True), strict=True)
    )


def test_no_line_touches_a_box():
    """In the picture of the packaged machine, no part of an edge is inside a box."""
    root = ElementTree.fromstring(svg(MACHINE))
    places = boxes(root)
    paths = [numbers(path.get("d", "")) for path in root.iterfind(".//svg:path", SVG)]
    assert (len(places), len(paths)) == (len(MACHINE.nodes), len(MACHINE.edges))
    for points in paths:
        # Each curve is inside the rectangle around its four points; a straight line leads to the next curve.
        curves = [points[place : place + 4] for place in range(0, len(points), 4)]
        lines = [points[place : place + 2] for place in range(3, len(points) - 1, 4)]
        assert not [1 for part in curves + lines for box in places if overlap(part, box)]

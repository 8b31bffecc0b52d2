"""The lists of ports and regions, and their ETags."""

from falcon import testing
from psycopg2.extensions import connection as Connection  # noqa: N812

from tests.api.seed import TREE


def test_ports(client: testing.TestClient) -> None:
    """All ports are listed by code, with name and region."""
    ports = client.simulate_get("/ports").json["ports"]
    assert {port["code"]: port["parent_slug"] for port in ports} == TREE.ports
    assert ports[0] == {"code": "CNGGZ", "name": "Port of CNGGZ", "parent_slug": "china_south"}
    assert [port["code"] for port in ports] == sorted(TREE.ports)


def test_region_tree(client: testing.TestClient) -> None:
    """Regions form a tree of any depth, in which every port and region occurs once, under its parent."""
    found: dict[str, str | None] = {}
    ports: dict[str, str] = {}

    def walk(regions: list[dict[str, object]], above: str | None) -> None:
        for region in regions:
            slug = str(region["slug"])
            assert region["parent_slug"] == above
            assert slug not in found
            found[slug] = above
            ports.update({str(code): slug for code in region["ports"]})  # type: ignore[attr-defined]
            walk(region["regions"], slug)  # type: ignore[arg-type]

    walk(client.simulate_get("/regions").json["regions"], None)
    assert found == TREE.regions
    assert ports == TREE.ports


def test_changes(client: testing.TestClient, owner: Connection) -> None:
    """Before a change of reference data the response is 304; afterwards the list has a new ETag and the new port."""
    etag = client.simulate_get("/ports").headers["ETag"]
    assert client.simulate_get("/ports", headers={"If-None-Match": etag}).status_code == 304
    with owner, owner.cursor() as cursor:
        cursor.execute("INSERT INTO ports VALUES ('DEHAM', 'Hamburg', 'europe')")
        cursor.execute("UPDATE data_version SET version = version + 1")
    response = client.simulate_get("/ports", headers={"If-None-Match": etag})
    assert "DEHAM" in [port["code"] for port in response.json["ports"]]

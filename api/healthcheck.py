"""``python -m ratesflow.api.healthcheck``: check that the service in this container is alive; exit 0 or 1."""

import os
import sys
from http.client import HTTPConnection, HTTPException


def is_live(port: int) -> bool:
    """Request ``/health/live`` on the loopback address, with a timeout of 2 seconds."""
    connection = HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/health/live")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(not is_live(int(os.environ.get("PORT") or 3000)))

"""`make demo`: loads a batch on a fresh embedded stack and queries its rates."""

import csv
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

from ratesflow.local.processes import free_port

ROWS = 60_000


def main() -> int:
    """Start a stack in a temporary directory, ingest a sample batch, query the API and stop. Return 0 on success."""
    with tempfile.TemporaryDirectory(prefix="ratesflow-demo-") as folder:
        home, batch = Path(folder) / "home", Path(folder) / "prices.csv"
        os.environ["RATESFLOW_HOME"] = str(home)
        api, aws, console = free_port(), free_port(), free_port()
        ports = f"--api-port {api} --aws-port {aws} --console-port {console}"
        try:
            ratesflow(f"up --detach {ports}")
            ratesflow(f"sample -n {ROWS} -o {batch}")
            ratesflow(f"ingest {batch}")
            ratesflow("batches")
            query_api(api, batch)
        except subprocess.CalledProcessError as error:
            print(f"The demo failed: {shlex.join(error.cmd)} ended with exit code {error.returncode}.")
            for log in sorted((home / "logs").glob("*.log")):
                print(f"--- {log.name}\n{log.read_text(errors='replace')[-3000:]}")
            return 1
        finally:
            ratesflow("down", check=False)
    return 0


def ratesflow(arguments: str, check: bool = True) -> None:
    """Print a command as a user would type it, and run it."""
    print(f"\n$ ratesflow {arguments}", flush=True)
    command = [str(Path(sys.executable).with_name("ratesflow")), *shlex.split(arguments)]
    subprocess.run(command, check=check)


def query_api(port: int, batch: Path) -> None:
    """Query the API for the busiest lane of the batch, on its last five days."""
    with batch.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    (orig, dest), _ = Counter((row["orig_code"], row["dest_code"]) for row in rows).most_common(1)[0]
    days = sorted({row["day"] for row in rows})[-5:]
    query = urlencode({"date_from": days[0], "date_to": days[-1], "orig_code": orig, "dest_code": dest})
    url = f"http://127.0.0.1:{port}/rates?{query}"
    print(f"\n$ curl '{url}'", flush=True)
    with urlopen(url, timeout=10) as response:
        rates = json.load(response)
    print(json.dumps(rates, indent=1))
    assert any(rate["price"] for rate in rates["rates"]), "the API returned no rate of this batch"


if __name__ == "__main__":
    sys.exit(main())

"""The main job, start to end, on the embedded stack: what `make demo` shows."""

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
    """Start a stack in a folder of its own, take a batch through it, ask the API, and stop; 0 if all went well."""
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
            ask(api, batch)
        except subprocess.CalledProcessError as error:
            print(f"The demo failed: {shlex.join(error.cmd)} ended with exit code {error.returncode}.")
            for log in sorted((home / "logs").glob("*.log")):
                print(f"--- {log.name}\n{log.read_text(errors='replace')[-3000:]}")
            return 1
        finally:
            ratesflow("down", check=False)
    return 0


def ratesflow(arguments: str, check: bool = True) -> None:
    """Show a command as a person would type it, and run it."""
    print(f"\n$ ratesflow {arguments}", flush=True)
    command = [str(Path(sys.executable).with_name("ratesflow")), *shlex.split(arguments)]
    subprocess.run(command, check=check)


def ask(port: int, batch: Path) -> None:
    """Ask the API for the busiest lane of the batch, in its last ten days."""
    with batch.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    (orig, dest), _ = Counter((row["orig_code"], row["dest_code"]) for row in rows).most_common(1)[0]
    days = sorted({row["day"] for row in rows})[-5:]
    query = urlencode({"date_from": days[0], "date_to": days[-1], "orig_code": orig, "dest_code": dest})
    url = f"http://127.0.0.1:{port}/rates?{query}"
    print(f"\n$ curl '{url}'", flush=True)
    with urlopen(url, timeout=10) as answer:
        rates = json.load(answer)
    print(json.dumps(rates, indent=1))
    assert any(rate["price"] for rate in rates["rates"]), "the API knows no price of this batch"


if __name__ == "__main__":
    sys.exit(main())

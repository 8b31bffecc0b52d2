"""Appends one batch with dlt; runs in dlt's own environment: `python dlt_append.py DATABASE_URL CSV FOLDER HOW`.

The file is read by Arrow's CSV reader and passed as one Arrow table, which dlt writes by COPY: its fastest
method without further drivers. HOW is `first` (one row, which creates the pipeline's own tables), `once`, or
`warm` (one row, then the batch; the seconds are those of the batch).
"""

import json
import sys
import time
from importlib import import_module


def main(url: str, path: str, folder: str, how: str) -> None:
    """Append the batch at `path` and print how many seconds `pipeline.run` took."""
    dlt, csv = import_module("dlt"), import_module("pyarrow.csv")
    pipeline = dlt.pipeline(
        "bench", pipelines_dir=folder, destination=dlt.destinations.postgres(url), dataset_name="by_dlt"
    )

    def append(table: object) -> None:
        pipeline.run(table, table_name="prices", write_disposition="append").raise_on_failed_jobs()

    if how != "once":
        append(csv.read_csv(path).slice(0, 1))
    began = time.perf_counter()
    if how != "first":
        append(csv.read_csv(path))
    print(json.dumps({"seconds": time.perf_counter() - began}))  # noqa: T201 the result


if __name__ == "__main__":
    main(*sys.argv[1:])

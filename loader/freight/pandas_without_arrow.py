"""Imports pandas without pyarrow, which pandas imports if it is installed.

What it buys: 35 MB of memory and 0.08 s for each task that reads text (`python -m benchmarks memory`). pandas tries to
import pyarrow and continues without it; the entry None in sys.modules makes that import fail. Parquet's reader imports
pyarrow itself. To switch it off, import pandas directly.
"""

import sys

if "pandas" not in sys.modules and "pyarrow" not in sys.modules:
    sys.modules["pyarrow"] = None  # type: ignore[assignment]  # an import of it fails, as if it were not installed
    try:
        import pandas as pd
    finally:
        del sys.modules["pyarrow"]
else:
    import pandas as pd

__all__ = ["pd"]

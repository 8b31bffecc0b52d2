"""pandas as the loader has it: without pyarrow, which pandas loads as soon as it is installed.

That costs 35 MB and 0.08 s, and is of no use for batches of text. Parquet's reader imports pyarrow itself.
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

"""The package's metadata as setup.cfg has it."""

import configparser
from pathlib import Path

ROOT = Path(__file__).parents[2]

_settings = configparser.ConfigParser()
_settings.read(ROOT / "setup.cfg", encoding="utf-8")
EXTRAS = {
    name: [line for line in text.splitlines() if line] for name, text in _settings["options.extras_require"].items()
}
"""The requirements of each extra."""

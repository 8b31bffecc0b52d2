"""Command lines whose wrong usage ends with the exit code 64, as every UsageError does; argparse would exit with 2."""

import argparse
import sys
from typing import NoReturn

from ratesflow.loader.runtime.errors import UsageError


class ArgumentParser(argparse.ArgumentParser):
    """A parser of arguments that exits with 64 after a wrong one."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and the message to standard error, and exit."""
        self.print_usage(sys.stderr)
        self.exit(UsageError.exit_code, f"{self.prog}: error: {message}\n")

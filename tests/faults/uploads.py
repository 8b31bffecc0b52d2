"""What was sent into a stack."""

from dataclasses import dataclass

from tests.faults.contents import Content

# What is sent under these keys is to be loaded although its bytes may be known.
FORCED = "incoming/forced-"


@dataclass
class Upload:
    """One version of an object that was sent, and what its execution is called."""

    name: str
    key: str
    version: str
    content: Content
    forced: bool = False
    gone: bool = False

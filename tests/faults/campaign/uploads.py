"""What was sent into a stack."""

from dataclasses import dataclass

from tests.faults.campaign.contents import Content

# What is sent under these keys is to be loaded although its bytes may be known.
FORCED = "incoming/forced-"
# The trigger and gc ignore files under these names: the campaign starts their executions.
ASIDE = "incoming/_temporary/"


@dataclass
class Upload:
    """One version of an object that was sent, and what its execution is called."""

    name: str
    key: str
    version: str
    content: Content
    forced: bool = False
    gone: bool = False

    @property
    def arrived(self) -> bool:
        """Tell whether an event started its execution."""
        return not self.key.startswith(ASIDE)

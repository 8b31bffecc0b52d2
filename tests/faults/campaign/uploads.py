"""The uploads to a stack."""

from dataclasses import dataclass

from tests.faults.campaign.contents import Content

# Objects with these keys are loaded even if the same bytes are committed.
FORCED = "incoming/forced-"
# The trigger and gc ignore files with this prefix: the campaign starts their executions itself.
IGNORED_PREFIX = "incoming/_temporary/"


@dataclass
class Upload:
    """One uploaded version of an object, and the name of its execution."""

    name: str
    key: str
    version: str
    content: Content
    forced: bool = False
    gone: bool = False

    @property
    def has_event(self) -> bool:
        """Return whether an event starts its execution."""
        return not self.key.startswith(IGNORED_PREFIX)

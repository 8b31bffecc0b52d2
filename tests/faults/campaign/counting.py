"""The plan of a campaign, its figures, and the collector of its notifications."""

import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

from botocore.exceptions import BotoCoreError, ClientError

from tests.faults.campaign.chaos_stack import ChaosStack
from tests.local.process_control import Mailbox


@dataclass(frozen=True)
class Plan:
    """The size of a campaign.

    A round sends `batches` over `seconds`, and meanwhile injects `faults` and submits `orders` (undo and upkeep) and
    `moves` (changes of the region tree). Each move may or may not have been applied, in any order: keep them few.
    """

    seed: int = 1
    rounds: int = 1
    minutes: float = 0.0
    batches: int = 14
    faults: int = 24
    orders: int = 4
    moves: int = 3
    seconds: float = 22.0
    shards: tuple[int, ...] = (2, 3, 5, 8)


@dataclass
class Figures:
    """The figures of a campaign."""

    seed: int
    seconds: float = 0.0
    rounds: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    counted: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    reads: dict[str, Counter[str]] = field(default_factory=dict)
    api_seconds: list[float] = field(default_factory=list)
    standby_seconds: list[float] = field(default_factory=list)
    settle_seconds: list[float] = field(default_factory=list)
    s3_errors: int = 0
    s3_cuts: int = 0
    violations: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


class NotificationCollector(threading.Thread):
    """Receives notifications continuously: the embedded queue does not survive a kill."""

    def __init__(self, chaos: ChaosStack) -> None:
        super().__init__(name="notifications", daemon=True)
        self._mailbox = Mailbox(chaos.stack)
        self.ids: dict[str, list[str]] = {}
        self._end = threading.Event()

    def run(self) -> None:
        """Receive notifications until `stop`."""
        while not self._end.wait(0.2):
            with suppress(BotoCoreError, ClientError):
                self._mailbox.of("")
            for message in self._mailbox._messages[sum(map(len, self.ids.values())) :]:
                self.ids.setdefault(message["batch_id"], []).append(message["notification_id"])

    def stop(self) -> None:
        """Stop receiving."""
        self._end.set()
        self.join(60)


def uploaded(figures: Figures) -> int:
    """Return how many batches were sent."""
    return figures.outcomes.total()

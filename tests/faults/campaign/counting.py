"""What a campaign is to do, what it counted, and the notifications that it was sent."""

import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

from botocore.exceptions import BotoCoreError, ClientError

from tests.faults.campaign.chaos_stack import Field
from tests.local.process_control import Mailbox


@dataclass(frozen=True)
class Plan:
    """How much of what. A round sends `batches` over `seconds`, with `strikes` and `orders` among them; `moves` change
    the tree of regions, and each may have happened or not, in any order: a few a round are enough.
    """

    seed: int = 1
    rounds: int = 1
    minutes: float = 0.0
    batches: int = 14
    strikes: int = 24
    orders: int = 4
    moves: int = 3
    seconds: float = 22.0
    shards: tuple[int, ...] = (2, 3, 5, 8)


@dataclass
class Figures:
    """What a campaign counted."""

    seed: int
    seconds: float = 0.0
    rounds: int = 0
    strikes: Counter[str] = field(default_factory=Counter)
    counted: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    looked: dict[str, Counter[str]] = field(default_factory=dict)
    api_seconds: list[float] = field(default_factory=list)
    standby_seconds: list[float] = field(default_factory=list)
    settle_seconds: list[float] = field(default_factory=list)
    s3_errors: int = 0
    s3_cuts: int = 0
    wrong: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


class Letters(threading.Thread):
    """Takes notifications out of their queue all the time: the embedded queue does not outlive a kill."""

    def __init__(self, field: Field) -> None:
        super().__init__(name="letters", daemon=True)
        self._mailbox = Mailbox(field.stack)
        self.ids: dict[str, list[str]] = {}
        self._end = threading.Event()

    def run(self) -> None:
        """Take them until told to stop."""
        while not self._end.wait(0.2):
            with suppress(BotoCoreError, ClientError):
                self._mailbox.of("")
            for message in self._mailbox._kept[sum(map(len, self.ids.values())) :]:
                self.ids.setdefault(message["batch_id"], []).append(message["notification_id"])

    def stop(self) -> None:
        """Take no more."""
        self._end.set()
        self.join(60)


def uploaded(figures: Figures) -> int:
    """Return how many batches were sent."""
    return figures.outcomes.total()

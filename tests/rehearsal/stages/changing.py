"""A change of an environment while batches are under way and requests come: planned, looked at, applied, checked."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.rehearsal.plans import changes_of, counted, objections, planned
from tests.rehearsal.runner import CommandError
from tests.rehearsal.stage import DoesNotHoldError, SkippedError, Stage
from tests.rehearsal.stages.batches import new_file, service
from tests.rehearsal.stages.making import plan_file
from tests.rehearsal.stages.traffic import Traffic


class Feeder:
    """Sends batch after batch from another thread, the first one large, until it is told to end.

    So one is under way at every moment in between.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._feed, daemon=True)
        self.sent: list[Path] = []
        self.committed: list[Path] = []
        self.failure: str | None = None
        self._stage_next()

    def _stage_next(self) -> None:
        rows = self._stage.options.rows if self.sent else self._stage.options.large_rows
        self.sent.append(new_file(self._stage, "under-way", rows))

    def start(self) -> None:
        """Send the first one."""
        self._thread.start()

    def end(self) -> None:
        """Let the one under way come to its end."""
        self._end.set()
        self._thread.join()

    def leave(self) -> None:
        """Watch no longer: what is under way goes on by itself."""
        self._end.set()
        self._stage.runner.interrupt_others()

    def _feed(self) -> None:
        try:
            while True:
                self._stage.ratesflow("ingest", str(self.sent[-1]), "--json")
                self.committed.append(self.sent[-1])
                if self._end.is_set():
                    return
                self._stage_next()
        except (CommandError, OSError) as error:
            self.failure = str(error)


@contextmanager
def under_load(stage: Stage) -> Iterator[dict[str, Any]]:
    """Have batches and requests go on while the body works, and add to its details what they met.

    Raises DoesNotHoldError when a request fails, an answer was never right, or a batch is not committed.
    """
    details: dict[str, Any] = {}
    feeder = Feeder(stage)
    with Traffic(stage.api_url) as traffic:
        feeder.start()
        try:
            yield details
        except BaseException:
            feeder.leave()
            raise
        feeder.end()
        for path in feeder.committed:
            stage.expected.add(path)
            stage.progress.committed.append(str(path))
        stage.progress.save()
        details |= {"batches committed meanwhile": len(feeder.committed)}
        if feeder.failure is None:
            wanted = stage.expected.now()
            stage.wait("the last batch's visibility", lambda: wanted in traffic.first_seen, 120)
    details |= traffic.figures()
    if feeder.failure:
        raise DoesNotHoldError(f"a batch was not committed: {feeder.failure}")
    traffic.check(stage.expected.answers)


def change(
    stage: Stage,
    *variables: str,
    may: tuple[str, ...],
    stays: tuple[str, ...] = (),
    before: Callable[[], object] = lambda: None,
) -> dict[str, Any]:
    """Plan with these variables, look at the plan, and apply it under load; return what it did and what was met.

    Raises DoesNotHoldError, before anything is applied, for a plan that does more than it may.
    """
    changes = changes_of(planned(stage, plan_file(stage), *variables))
    if found := objections(changes, may, stays):
        raise DoesNotHoldError("not applied: " + "; ".join(found))
    if not changes:
        raise DoesNotHoldError("the plan is empty: nothing would change")
    with under_load(stage) as met:
        before()
        done = stage.terraform("apply", "-lock-timeout=5m", str(plan_file(stage)))
        with suppress(SkippedError):
            service(stage)
    return {"plan": counted(changes), "seconds of apply": round(done.seconds, 1), **met}


def settle(stage: Stage) -> None:
    """Bring the environment back to its file of variables after a change that did not hold, so that others can."""
    if changes_of(planned(stage, plan_file(stage))):
        stage.terraform("apply", "-lock-timeout=5m", str(plan_file(stage)))


def second_apply(stage: Stage) -> dict[str, Any]:
    """Plan again: only the rotation is left to add, which needs the users that migrate creates."""
    changes = changes_of(planned(stage, plan_file(stage)))
    if found := objections(changes, ("*rotation*", "*redeploy*", "aws_scheduler_schedule.*"), stays=("aws_rds_*",)):
        raise DoesNotHoldError("not applied: " + "; ".join(found))
    if changes:
        stage.terraform("apply", "-lock-timeout=5m", str(plan_file(stage)))
        if again := changes_of(planned(stage, plan_file(stage))):
            raise DoesNotHoldError(f"the plan does not become empty: {', '.join(sorted(again))}")
    return {"plan": counted(changes)}

"""Changes of an environment under load: planned, reviewed, applied and checked."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.rehearsal.plans import changes_of, counted, objections, planned
from tests.rehearsal.runner import CommandError
from tests.rehearsal.stage import SkippedError, Stage, StepFailedError
from tests.rehearsal.stages.batches import new_file, service
from tests.rehearsal.stages.making import plan_file
from tests.rehearsal.stages.traffic import Traffic


class Feeder:
    """Sends batches continuously from another thread, the first one large, so that one is always running."""

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
        """Send the first batch."""
        self._thread.start()

    def end(self) -> None:
        """Send no more batches, and wait for the running one."""
        self._end.set()
        self._thread.join()

    def abandon(self) -> None:
        """Stop following the running batch, which continues by itself."""
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
    """Send batches and requests during the block, and add their figures to the details.

    Raises StepFailedError if a request fails, a response is wrong, or a batch is not committed.
    """
    details: dict[str, Any] = {}
    feeder = Feeder(stage)
    with Traffic(stage.api_url) as traffic:
        feeder.start()
        try:
            yield details
        except BaseException:
            feeder.abandon()
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
        raise StepFailedError(f"a batch was not committed: {feeder.failure}")
    traffic.check(stage.expected.answers)


def change(
    stage: Stage,
    *variables: str,
    may: tuple[str, ...],
    stays: tuple[str, ...] = (),
    before: Callable[[], object] = lambda: None,
) -> dict[str, Any]:
    """Plan with these variables, check the plan, and apply it under load; return its changes and the load's figures.

    Raises StepFailedError, before anything is applied, for a plan with unexpected changes.
    """
    changes = changes_of(planned(stage, plan_file(stage), *variables))
    if found := objections(changes, may, stays):
        raise StepFailedError("not applied: " + "; ".join(found))
    if not changes:
        raise StepFailedError("the plan is empty: nothing would change")
    with under_load(stage) as figures:
        before()
        done = stage.terraform("apply", "-lock-timeout=5m", str(plan_file(stage)))
        with suppress(SkippedError):
            service(stage)
    return {"plan": counted(changes), "seconds of apply": round(done.seconds, 1), **figures}


def settle(stage: Stage) -> None:
    """Restore the environment to its variables file after a failed change."""
    if changes_of(planned(stage, plan_file(stage))):
        stage.terraform("apply", "-lock-timeout=5m", str(plan_file(stage)))


def second_apply(stage: Stage) -> dict[str, Any]:
    """Plan again: only the rotation is left to add, which needs the users that migrate creates."""
    changes = changes_of(planned(stage, plan_file(stage)))
    if found := objections(changes, ("*rotation*", "*redeploy*", "aws_scheduler_schedule.*"), stays=("aws_rds_*",)):
        raise StepFailedError("not applied: " + "; ".join(found))
    if changes:
        stage.terraform("apply", "-lock-timeout=5m", str(plan_file(stage)))
        if again := changes_of(planned(stage, plan_file(stage))):
            raise StepFailedError(f"the plan does not become empty: {', '.join(sorted(again))}")
    return {"plan": counted(changes)}

"""A campaign: rounds of batches and strikes, each followed by quiet, by what must hold, and by one line of figures."""

import random
import signal
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg2
from botocore.exceptions import BotoCoreError, ClientError

from tests.faults.contents import Content
from tests.faults.counting import Figures, Letters, Plan
from tests.faults.field import Field, StackDownError, asked, resume
from tests.faults.invariants import check
from tests.faults.readers import ApiReader, Reader, SqlReader
from tests.faults.strikes import WEIGHTS, Points, Strike
from tests.faults.struck import POINTS
from tests.local.conftest import new_stack
from workflow.environment import find_environment
from workflow.tasks import TaskFailedError, run_task

SETTLE_SECONDS = 240
GC_EVERY_SECONDS = 6


class Campaign:
    """One campaign on one stack; `run` returns its figures."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.rng = random.Random(plan.seed)
        self.field = Field(new_stack(folder / "home"), random.Random(plan.seed + 1))
        self.figures = Figures(plan.seed)
        self.published: dict[str, bool] = {}

    def run(self, say: Any = lambda _: None) -> Figures:
        """Run all rounds."""
        begun = time.monotonic()
        try:
            self.field.start()
            if not self.field.disk:
                self.figures.skipped.append("full disk: only root may mount the small disk that it fills")
            self._campaign(say, begun)
        finally:
            self.field.end()
        self.figures.seconds = time.monotonic() - begun
        return self.figures

    def _campaign(self, say: Any, begun: float) -> None:
        self.letters = Letters(self.field)
        self.points = Points(self.field, self.plan.seed)
        readers = self._readers()
        for thread in (self.letters, self.points, *readers):
            thread.start()
        try:
            while self._goes_on(begun):
                wrong = self._round()
                self.figures.wrong += wrong
                self._count(readers)
                say(self._line(wrong))
        finally:
            for thread in (*readers, self.points, self.letters):
                thread.stop()
            self._count(readers)
        for reader in readers:
            self.figures.wrong += reader.wrong

    def _goes_on(self, begun: float) -> bool:
        if self.plan.minutes:
            return time.monotonic() - begun < self.plan.minutes * 60
        return self.figures.rounds < self.plan.rounds

    def _readers(self) -> list[Reader]:
        field, seed = self.field, self.plan.seed
        api = field.environment["RATESFLOW_API_URL"]
        readers: list[Reader] = [
            SqlReader("primary", field.owner_url, field.visible_content, seed),
            SqlReader("standby", field.standby_url, field.visible_content, seed + 1),
            ApiReader(api, field.visible_content, seed + 2),
        ]
        for reader in readers[:2]:
            reader.may_go = field.may_go
        readers[2].may_go = lambda _: True  # its workers may be half a second apart
        return readers

    def _round(self) -> list[str]:
        field, rng = self.field, self.rng
        field.quiet.clear()
        field.aws_killed = False
        task = rng.choice(sorted(POINTS))
        point, hurried = (task, rng.randint(1, POINTS[task])), rng.random() < 0.25
        field.patiently(lambda: field.redeploy(point, hurried))
        orders = [(rng.uniform(0, self.plan.seconds * 0.7), "batch") for _ in range(self.plan.batches)]
        orders += [(rng.uniform(0.5, self.plan.seconds), "strike") for _ in range(self.plan.strikes)]
        orders += [(rng.uniform(0.5, self.plan.seconds), "upkeep") for _ in range(3)]
        begun, wrong = time.monotonic(), []
        for at, order in sorted(orders):
            time.sleep(max(0.0, begun + at - time.monotonic()))
            try:
                {"batch": self._batch, "strike": self._strike, "upkeep": self._upkeep}[order]()
            except StackDownError:
                wrong.append(f"the stack came down: {field.up_again()}")
        self._quieten()
        begun = time.monotonic()
        wrong += self._settle()
        if not any("no outcome" in each for each in wrong):
            wrong += check(field, dict(self.letters.ids), self.published)
        wrong += self._standby_follows()
        self.figures.settle_seconds.append(time.monotonic() - begun)
        self.figures.rounds += 1
        self.figures.outcomes = Counter(field.settled.values())
        return wrong

    def _batch(self) -> None:
        field, rng = self.field, self.rng
        number, chance = len(field.contents), rng.random()
        if chance < 0.12 and field.uploads:
            content = rng.choice(list(field.uploads.values())).content  # the same bytes once more
        else:
            rows = rng.choice([60, 240, 240, 900])
            kind = rng.choice(["csv", "csv", "csv", "gzip", "jsonl"])
            content = Content(
                number, rows, rng.randint(2, rows) if chance > 0.9 else 0, "csv" if chance > 0.9 else kind
            )
        key = f"soak-{self.plan.seed}-{len(field.uploads)}"
        if chance < 0.8 or content.kind == "gzip":
            field.send(content, f"incoming/{key}.dat")
        else:
            field.start_in_shards(content, key, rng.randint(2, 3))

    def _strike(self) -> None:
        strikes = list(WEIGHTS)
        for _ in range(6):  # there is not always something to hit
            strike: Strike = self.rng.choices(strikes, list(WEIGHTS.values()))[0]
            if strike(self.field, self.rng):
                self.figures.strikes[strike.__name__] += 1
                return

    def _upkeep(self) -> None:
        field = self.field
        what = self.rng.choice(["undo", "compact", "compact", "gc"])
        if what != "undo":
            parameters = {"compact": {"least": "1"}, "gc": {"batch": "all"}}[what]
            return field.submit(what, **parameters)
        committed = [name for name, state in field.settled.items() if state == "committed"]
        if committed:
            name = self.rng.choice(committed)
            field.undone.add(field.uploads[name].content.number)
            field.submit("undo", batch=name)
        return None

    def _quieten(self) -> None:
        field = self.field
        field.quiet.set()
        field.wire.flow()
        field.s3.error_share = field.s3.cut_share = 0.0
        (field.stack.home / "postgres" / "ballast").unlink(missing_ok=True)
        for pid in list(field.paused):
            resume(pid)
        field.paused.clear()
        for process in field.twins:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)

    def _settle(self) -> list[str]:
        """Wait until every execution is over and every batch closed, with gc as often as its schedule would."""
        field, came_down = self.field, []
        deadline, gc_at = time.monotonic() + SETTLE_SECONDS, time.monotonic() + 1.0
        while time.monotonic() < deadline:
            if not field.is_up:
                field.aws_killed = True
                came_down.append(f"the stack came down: {field.up_again()}")
            try:
                self._find_uploads()
                running, over = self._executions()
                states = dict(asked(field.owner_url, "SELECT batch_id, state FROM batches"))
            except (BotoCoreError, ClientError, psycopg2.Error):
                time.sleep(0.3)
                continue
            waiting = [name for name in field.uploads if states.get(name, "open") == "open"]
            if not running and not field.tasks() and over and not waiting:
                if self._swept():
                    field.settled = states
                    self._collect_twins()
                    return came_down
            elif not running and time.monotonic() > gc_at:
                gc_at = time.monotonic() + GC_EVERY_SECONDS
                self._swept()
            time.sleep(0.4)
        names = ", ".join(self._in_words(name, states.get(name)) for name in waiting) or f"still running: {running}"
        return [*came_down, f"no outcome after {SETTLE_SECONDS} s: {names}"]

    def _in_words(self, name: str, state: str | None) -> str:
        """Say of a batch without an outcome what could explain it."""
        upload, known = self.field.uploads[name], "no execution"
        with suppress(BotoCoreError, ClientError):
            known = f"execution {self.field.describe(name)['status']}"
        killed = ", AWS was killed in this round" if self.field.aws_killed else ""
        gone = ", its version was deleted" if upload.gone else ""
        return f"{name} ({state or 'not in the ledger'}, {known}{gone}{killed})"

    def _find_uploads(self) -> None:
        """Learn of versions whose upload was answered by a connection that broke."""
        by_etag = {content.etag: content for content in self.field.contents}
        pages = self.field.aws("s3").get_paginator("list_object_versions")
        for page in pages.paginate(Bucket=self.field.bucket, Prefix="incoming/"):
            for found in page.get("Versions", []):
                self.field.keep(found["Key"], found["VersionId"], by_etag[found["ETag"].strip('"')])

    def _executions(self) -> tuple[list[str], bool]:
        """Return which executions run, and whether all others are known to be over."""
        states, running, over = self.field.aws("stepfunctions"), [], True
        for upload in list(self.field.uploads.values()):
            if upload.name in self.published:
                continue
            try:
                found = self.field.describe(upload.name)
            except states.exceptions.ExecutionDoesNotExist:
                over = False
                continue
            if found["status"] == "RUNNING":
                running.append(upload.name)
            else:
                told = self.field.aws_killed and self._was_published(states, found["executionArn"])
                self.published[upload.name] = told
        return running, over

    def _was_published(self, states: Any, arn: str) -> bool:
        events = states.get_execution_history(executionArn=arn, maxResults=1000)["events"]
        return any(event.get("taskSucceededEventDetails", {}).get("resourceType") == "sns" for event in events)

    def _swept(self) -> bool:
        """Run gc, as the schedule and `ratesflow gc` do; tell whether it ended well."""
        with suppress(TaskFailedError, TimeoutError, BotoCoreError, ClientError):
            run_task(find_environment(self.field.stack.home), "gc", {"batch": "all"}, seconds=60)
            return True
        return False

    def _collect_twins(self) -> None:
        for process in self.field.twins:
            with suppress(Exception):
                process.wait(60)
            process.kill()
        self.field.twins.clear()

    def _standby_follows(self) -> list[str]:
        """Wait until the standby has replayed all of it, and note how long that took."""
        query = "SELECT epoch::text, version FROM data_version"
        begun = time.monotonic()
        while time.monotonic() < begun + 30:
            with suppress(psycopg2.Error):
                if asked(self.field.standby_url, query) == asked(self.field.owner_url, query):
                    self.figures.standby_seconds.append(time.monotonic() - begun)
                    return []
            time.sleep(0.1)
        return ["the standby did not follow within 30 s"]

    def _count(self, readers: list[Reader]) -> None:
        figures = self.figures
        for reader in readers:
            figures.looked[reader.name] = Counter(reader.looked)
            if isinstance(reader, ApiReader):
                figures.api_seconds = list(reader.seconds)
        figures.strikes["kill_at_a_fault_point"] = self.points.killed
        figures.strikes["hold_at_a_fault_point"] = self.points.held
        figures.s3_errors, figures.s3_cuts = self.field.s3.errors, self.field.s3.cuts

    def _line(self, wrong: list[str]) -> str:
        figures = self.figures
        outcomes = ", ".join(f"{count} {state}" for state, count in sorted(figures.outcomes.items()))
        words = f"round {figures.rounds}: {figures.strikes.total()} strikes; {outcomes}; "
        words += f"settled in {figures.settle_seconds[-1]:.1f} s; {len(wrong)} wrong"
        return "\n  ".join([words, *wrong[:10]])

"""A campaign: rounds of batches and strikes, each followed by quiet, by what must hold, and by one line of figures."""

import random
import signal
import time
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psycopg2
from botocore.exceptions import BotoCoreError, ClientError

from ratesflow.loader.runtime.upkeep import Upkeep
from ratesflow.loader.tasks.merge_partitions import merges
from ratesflow.workflow.client.environment import find_environment
from ratesflow.workflow.client.errors import TaskFailedError
from ratesflow.workflow.client.run_task import run_task
from tests.faults.campaign.chaos_stack import Field, StackDownError
from tests.faults.campaign.contents import Content
from tests.faults.campaign.counting import Figures, Letters, Plan
from tests.faults.campaign.invariants import check
from tests.faults.campaign.low_limits import MINUTES, TABLES
from tests.faults.campaign.points import Points
from tests.faults.campaign.queries import asked
from tests.faults.campaign.signals import Strike, resume
from tests.faults.campaign.stack_under_strikes import POINTS
from tests.faults.campaign.strikes import WEIGHTS
from tests.faults.campaign.strikes_database import analyze, promote
from tests.faults.campaign.uploads import ASIDE, FORCED
from tests.faults.model.orders import move_tree, order
from tests.faults.readers.api_reader import ApiReader
from tests.faults.readers.readers import Reader, SqlReader
from tests.faults.readers.snapshots import faults, seen
from tests.local.conftest import new_stack

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
        self._merged: set[str] = set()

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
        urls = dict(zip(("primary", "standby", "slow standby"), [field.owner_url, *field.standbys.urls], strict=True))
        apis = dict(zip(("API", "API of the standbys"), field.api_urls, strict=True))
        readers: list[Reader] = [
            *(SqlReader(name, url, field.visible_content, seed + at) for at, (name, url) in enumerate(urls.items())),
            *(ApiReader(name, url, field.visible_content, seed + at) for at, (name, url) in enumerate(apis.items())),
        ]
        for reader in readers:
            reader.may_go, reader.copies = field.may_go, field.copies
            if isinstance(reader, ApiReader):
                reader.trees = lambda: [*field.trees, *field.former_trees]
        return readers

    def _round(self) -> list[str]:
        field, rng = self.field, self.rng
        field.begin_round()
        task = rng.choice(sorted(POINTS))
        point, hurried = (task, rng.randint(1, POINTS[task])), rng.random() < 0.25
        field.patiently(lambda: field.redeploy(point, hurried))
        plan = self.plan
        kinds = (self._strike, plan.strikes), (order, plan.orders)
        orders = [(rng.uniform(0, plan.seconds * 0.7), self._batch) for _ in range(plan.batches)]
        orders += [(rng.uniform(0.5, plan.seconds), kind) for kind, count in kinds for _ in range(count)]
        # The last one while batches are under way that were validated before it.
        orders += [(plan.seconds * (at + 1) / plan.moves, move_tree) for at in range(plan.moves)]
        begun, wrong = time.monotonic(), []
        for at, what in sorted(orders, key=lambda each: each[0]):
            time.sleep(max(0.0, begun + at - time.monotonic()))
            try:
                what(field, rng)
            except StackDownError:
                wrong.append(f"the stack came down: {field.up_again()}")
        self._quieten()
        begun = time.monotonic()
        wrong += self._settle()
        if not any("no outcome" in each for each in wrong):
            self._merge_tables()
            wrong += check(field, dict(self.letters.ids), self.published)
            wrong += self._standbys_follow()
        analyze(field, rng)
        self.figures.settle_seconds.append(time.monotonic() - begun)
        self.figures.rounds += 1
        self.figures.outcomes = Counter(field.settled.values())
        return wrong

    def _batch(self, field: Field, rng: random.Random) -> None:
        number, chance = len(field.contents), rng.random()
        if chance < 0.12 and field.uploads:
            content = rng.choice(list(field.uploads.values())).content  # the same bytes once more
            if rng.random() < 0.5:
                field.send(content, f"{FORCED}{self.plan.seed}-{len(field.uploads)}.dat", force=True)
                return
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
            field.start_in_shards(content, key, rng.choice(self.plan.shards))

    def _strike(self, field: Field, rng: random.Random) -> None:
        for _ in range(6):  # there is not always something to hit
            strike: Strike = rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
            if strike(field, rng):
                self.figures.strikes[strike.__name__] += 1
                return

    def _quieten(self) -> None:
        field = self.field
        field.quiet.set()
        field.wire.flow()
        field.s3.error_share = field.s3.cut_share = 0.0
        (field.stack.home / "postgres" / "ballast").unlink(missing_ok=True)
        field.standbys.resume()
        promote(field)
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
                working = field.at_work()
                states = dict(asked(field.owner_url, "SELECT batch_id, state FROM batches"))
            except (BotoCoreError, ClientError, psycopg2.Error):
                time.sleep(0.3)
                continue
            waiting = [name for name in field.uploads if states.get(name, "open") == "open"]
            if not running and not working and not field.tasks() and over and not waiting:
                if self._swept():
                    field.settled = states
                    self._collect_twins()
                    return came_down
            elif not running and not working and time.monotonic() > gc_at:
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
                if not found["Key"].startswith(ASIDE):
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

    def _merge_tables(self) -> None:
        """Merge tables of prices, as a compaction does that comes an hour later."""
        url = self.field.owner_url
        merged = {name for (name,) in asked(url, "SELECT part::text FROM price_tables WHERE first <> last")}
        with closing(psycopg2.connect(url)) as connection:
            upkeep = Upkeep()
            done = upkeep.work_off(merges(connection, most=TABLES, minutes=MINUTES))
            upkeep.finish()
        self.field.counted["merges"] += done + len(merged - self._merged)
        self._merged = {name for (name,) in asked(url, "SELECT part::text FROM price_tables WHERE first <> last")}

    def _standbys_follow(self) -> list[str]:
        """Wait until the standbys have replayed all of it, note how long that took, and look at them."""
        field, begun, wrong = self.field, time.monotonic(), []
        ((there,),) = asked(field.owner_url, "SELECT pg_current_wal_lsn()::text")
        for url in field.standbys.urls:
            while asked(url, "SELECT pg_last_wal_replay_lsn() >= %(there)s", {"there": there}) != [(True,)]:
                if time.monotonic() > begun + 30:
                    return ["a standby did not follow within 30 s"]
                time.sleep(0.1)
            self.figures.standby_seconds.append(time.monotonic() - begun)
            with closing(psycopg2.connect(url)) as connection:
                connection.set_session("REPEATABLE READ", readonly=True)
                with connection.cursor() as cursor:
                    wrong += faults(seen(cursor), {name: each.content for name, each in field.uploads.items()})
        return [f"on a standby: {each}" for each in wrong]

    def _count(self, readers: list[Reader]) -> None:
        figures = self.figures
        for reader in readers:
            figures.looked[reader.name] = Counter(reader.looked)
        figures.api_seconds = [each for reader in readers if isinstance(reader, ApiReader) for each in reader.seconds]
        figures.counted = Counter(self.field.counted)
        figures.strikes |= {"kill_at_a_fault_point": self.points.killed, "hold_at_a_fault_point": self.points.held}
        figures.s3_errors, figures.s3_cuts = self.field.s3.errors, self.field.s3.cuts

    def _line(self, wrong: list[str]) -> str:
        figures = self.figures
        outcomes = ", ".join(f"{count} {state}" for state, count in sorted(figures.outcomes.items()))
        settled = f"settled in {figures.settle_seconds[-1]:.1f} s; {len(wrong)} wrong"
        line = f"round {figures.rounds}: {figures.strikes.total()} strikes; {outcomes}; {settled}"
        return "\n  ".join([line, *wrong[:10]])

"""A campaign: rounds of batches and faults, each followed by a check of the invariants and a line of figures."""

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
from tests.faults.campaign.chaos_stack import ChaosStack, StackDownError
from tests.faults.campaign.contents import Content
from tests.faults.campaign.counting import Figures, NotificationCollector, Plan
from tests.faults.campaign.database_faults import analyze, promote
from tests.faults.campaign.fault_points import FaultPoints
from tests.faults.campaign.injected_faults import WEIGHTS
from tests.faults.campaign.invariants import check
from tests.faults.campaign.low_limits import MINUTES, TABLES
from tests.faults.campaign.queries import query
from tests.faults.campaign.signals import Fault, resume
from tests.faults.campaign.task_overrides import POINTS
from tests.faults.campaign.uploads import FORCED, IGNORED_PREFIX
from tests.faults.model.background_tasks import move_tree, order
from tests.faults.readers.api_reader import ApiReader
from tests.faults.readers.readers import Reader, SqlReader
from tests.faults.readers.snapshots import find_violations, read_snapshot
from tests.local.conftest import new_stack

SETTLE_SECONDS = 240
GC_EVERY_SECONDS = 6


class Campaign:
    """One campaign on one stack; `run` returns its figures."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan, self.rng = plan, random.Random(plan.seed)
        self.chaos = ChaosStack(new_stack(folder / "home"), random.Random(plan.seed + 1))
        self.figures = Figures(plan.seed)
        self.published: dict[str, bool] = {}
        self._merged: set[str] = set()

    def run(self, on_round: Any = lambda _: None) -> Figures:
        """Run all rounds."""
        begun = time.monotonic()
        try:
            self.chaos.start()
            if not self.chaos.disk:
                self.figures.skipped.append("full disk: only root may mount the small disk")
            self._campaign(on_round, begun)
        finally:
            self.chaos.end()
        self.figures.seconds = time.monotonic() - begun
        return self.figures

    def _campaign(self, on_round: Any, begun: float) -> None:
        self.notifications = NotificationCollector(self.chaos)
        self.points = FaultPoints(self.chaos, self.plan.seed)
        readers = self._readers()
        for thread in (self.notifications, self.points, *readers):
            thread.start()
        try:
            while self._continues(begun):
                violations = self._round()
                self.figures.violations += violations
                self._count(readers)
                on_round(self._line(violations))
        finally:
            for thread in (*readers, self.points, self.notifications):
                thread.stop()
            self._count(readers)
        for reader in readers:
            self.figures.violations += reader.violations

    def _continues(self, begun: float) -> bool:
        if self.plan.minutes:
            return time.monotonic() - begun < self.plan.minutes * 60
        return self.figures.rounds < self.plan.rounds

    def _readers(self) -> list[Reader]:
        chaos, seed = self.chaos, self.plan.seed
        urls = dict(zip(("primary", "standby", "slow standby"), [chaos.owner_url, *chaos.standbys.urls], strict=True))
        apis = dict(zip(("API", "API of the standbys"), chaos.api_urls, strict=True))
        readers: list[Reader] = [
            *(SqlReader(name, url, chaos.visible_content, seed + at) for at, (name, url) in enumerate(urls.items())),
            *(ApiReader(name, url, chaos.visible_content, seed + at) for at, (name, url) in enumerate(apis.items())),
        ]
        for reader in readers:
            reader.may_disappear, reader.copies = chaos.may_disappear, chaos.copies
            if isinstance(reader, ApiReader):
                reader.trees = lambda: [*chaos.trees, *chaos.former_trees]
        return readers

    def _round(self) -> list[str]:
        chaos, rng = self.chaos, self.rng
        chaos.start_round()
        task = rng.choice(sorted(POINTS))
        point, short_timeout = (task, rng.randint(1, POINTS[task])), rng.random() < 0.25
        chaos.retry(lambda: chaos.redeploy(point, short_timeout))
        plan = self.plan
        kinds = (self._inject_fault, plan.faults), (order, plan.orders)
        orders = [(rng.uniform(0, plan.seconds * 0.7), self._batch) for _ in range(plan.batches)]
        orders += [(rng.uniform(0.5, plan.seconds), kind) for kind, count in kinds for _ in range(count)]
        # The last change comes while batches run that were validated before it.
        orders += [(plan.seconds * (at + 1) / plan.moves, move_tree) for at in range(plan.moves)]
        begun, violations = time.monotonic(), []
        for at, action in sorted(orders, key=lambda each: each[0]):
            time.sleep(max(0.0, begun + at - time.monotonic()))
            try:
                action(chaos, rng)
            except StackDownError:
                violations.append(f"the stack ended unexpectedly: {chaos.restart()}")
        self._stop_faults()
        begun = time.monotonic()
        violations += self._settle()
        if not any("no outcome" in each for each in violations):
            self._merge_tables()
            violations += check(chaos, dict(self.notifications.ids), self.published)
            violations += self._check_standbys()
        analyze(chaos, rng)
        self.figures.settle_seconds.append(time.monotonic() - begun)
        self.figures.rounds += 1
        self.figures.outcomes = Counter(chaos.settled.values())
        return violations

    def _batch(self, chaos: ChaosStack, rng: random.Random) -> None:
        number, draw = len(chaos.contents), rng.random()
        if draw < 0.12 and chaos.uploads:
            content = rng.choice(list(chaos.uploads.values())).content  # the same bytes again
            if rng.random() < 0.5:
                chaos.send(content, f"{FORCED}{self.plan.seed}-{len(chaos.uploads)}.dat", force=True)
                return
        else:
            rows = rng.choice([60, 240, 240, 900])
            kind = rng.choice(["csv", "csv", "csv", "gzip", "jsonl"])
            content = Content(number, rows, rng.randint(2, rows) if draw > 0.9 else 0, "csv" if draw > 0.9 else kind)
        key = f"soak-{self.plan.seed}-{len(chaos.uploads)}"
        if draw < 0.8 or content.kind == "gzip":
            chaos.send(content, f"incoming/{key}.dat")
        else:
            chaos.start_in_shards(content, key, rng.choice(self.plan.shards))

    def _inject_fault(self, chaos: ChaosStack, rng: random.Random) -> None:
        for _ in range(6):  # a fault may have no target
            fault: Fault = rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
            if fault(chaos, rng):
                self.figures.faults[fault.__name__] += 1
                return

    def _stop_faults(self) -> None:
        chaos = self.chaos
        chaos.quiet.set()
        chaos.wire.flow()
        chaos.s3.error_share = chaos.s3.cut_share = 0.0
        (chaos.stack.home / "postgres" / "ballast").unlink(missing_ok=True)
        chaos.standbys.resume()
        promote(chaos)
        for pid in list(chaos.paused):
            resume(pid)
        chaos.paused.clear()
        for process in chaos.second_processes:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)

    def _settle(self) -> list[str]:
        """Wait until every execution has ended and every batch is closed, with gc as often as on a schedule."""
        chaos, outages = self.chaos, []
        deadline, gc_at = time.monotonic() + SETTLE_SECONDS, time.monotonic() + 1.0
        while time.monotonic() < deadline:
            if not chaos.is_up:
                chaos.aws_killed = True
                outages.append(f"the stack ended unexpectedly: {chaos.restart()}")
            try:
                self._find_uploads()
                running, all_ended = self._executions()
                working = chaos.has_running_jobs()
                states = dict(query(chaos.owner_url, "SELECT batch_id, state FROM batches"))
            except (BotoCoreError, ClientError, psycopg2.Error):
                time.sleep(0.3)
                continue
            waiting = [name for name in chaos.uploads if states.get(name, "open") == "open"]
            if not running and not working and not chaos.tasks() and all_ended and not waiting:
                if self._run_gc():
                    chaos.settled = states
                    self._collect_second_processes()
                    return outages
            elif not running and not working and time.monotonic() > gc_at:
                gc_at = time.monotonic() + GC_EVERY_SECONDS
                self._run_gc()
            time.sleep(0.4)
        open_batches = ", ".join(self._describe_open(name, states.get(name)) for name in waiting)
        return [*outages, f"no outcome after {SETTLE_SECONDS} s: {open_batches or f'still running: {running}'}"]

    def _describe_open(self, name: str, state: str | None) -> str:
        """Describe a batch without an outcome, with possible causes."""
        upload, execution = self.chaos.uploads[name], "no execution"
        with suppress(BotoCoreError, ClientError):
            execution = f"execution {self.chaos.describe(name)['status']}"
        killed = ", AWS was killed in this round" if self.chaos.aws_killed else ""
        gone = ", its version was deleted" if upload.gone else ""
        return f"{name} ({state or 'not in the ledger'}, {execution}{gone}{killed})"

    def _find_uploads(self) -> None:
        """Record versions whose upload succeeded although the connection broke before the response."""
        by_etag = {content.etag: content for content in self.chaos.contents}
        pages = self.chaos.aws("s3").get_paginator("list_object_versions")
        for page in pages.paginate(Bucket=self.chaos.bucket, Prefix="incoming/"):
            for found in page.get("Versions", []):
                if not found["Key"].startswith(IGNORED_PREFIX):
                    self.chaos.record(found["Key"], found["VersionId"], by_etag[found["ETag"].strip('"')])

    def _executions(self) -> tuple[list[str], bool]:
        """Return the running executions, and whether all others have ended."""
        states, running, all_ended = self.chaos.aws("stepfunctions"), [], True
        for upload in list(self.chaos.uploads.values()):
            if upload.name in self.published:
                continue
            try:
                found = self.chaos.describe(upload.name)
            except states.exceptions.ExecutionDoesNotExist:
                all_ended = False
                continue
            if found["status"] == "RUNNING":
                running.append(upload.name)
            else:
                published = self.chaos.aws_killed and self._was_published(states, found["executionArn"])
                self.published[upload.name] = published
        return running, all_ended

    def _was_published(self, states: Any, arn: str) -> bool:
        events = states.get_execution_history(executionArn=arn, maxResults=1000)["events"]
        return any(event.get("taskSucceededEventDetails", {}).get("resourceType") == "sns" for event in events)

    def _run_gc(self) -> bool:
        """Run gc, as the schedule and `ratesflow gc` do; return whether it succeeded."""
        with suppress(TaskFailedError, TimeoutError, BotoCoreError, ClientError):
            run_task(find_environment(self.chaos.stack.home), "gc", {"batch": "all"}, seconds=60)
            return True
        return False

    def _collect_second_processes(self) -> None:
        for process in self.chaos.second_processes:
            with suppress(Exception):
                process.wait(60)
            process.kill()
        self.chaos.second_processes.clear()

    def _merge_tables(self) -> None:
        """Merge tables of prices, as a compaction one hour later does."""
        url = self.chaos.owner_url
        merged = {name for (name,) in query(url, "SELECT part::text FROM price_tables WHERE first <> last")}
        with closing(psycopg2.connect(url)) as connection:
            upkeep = Upkeep()
            done = upkeep.work_off(merges(connection, most=TABLES, minutes=MINUTES))
            upkeep.finish()
        self.chaos.counted["merges"] += done + len(merged - self._merged)
        self._merged = {name for (name,) in query(url, "SELECT part::text FROM price_tables WHERE first <> last")}

    def _check_standbys(self) -> list[str]:
        """Wait until the standbys have replayed everything, record how long that took, and check them."""
        chaos, begun, violations = self.chaos, time.monotonic(), []
        ((position,),) = query(chaos.owner_url, "SELECT pg_current_wal_lsn()::text")
        for url in chaos.standbys.urls:
            while query(url, "SELECT pg_last_wal_replay_lsn() >= %(position)s", {"position": position}) != [(True,)]:
                if time.monotonic() > begun + 30:
                    return ["a standby did not catch up within 30 s"]
                time.sleep(0.1)
            self.figures.standby_seconds.append(time.monotonic() - begun)
            with closing(psycopg2.connect(url)) as connection:
                connection.set_session("REPEATABLE READ", readonly=True)
                with connection.cursor() as cursor:
                    contents = {name: each.content for name, each in chaos.uploads.items()}
                    violations += find_violations(read_snapshot(cursor), contents)
        return [f"on a standby: {each}" for each in violations]

    def _count(self, readers: list[Reader]) -> None:
        figures = self.figures
        for reader in readers:
            figures.reads[reader.name] = Counter(reader.reads)
        figures.api_seconds = [each for reader in readers if isinstance(reader, ApiReader) for each in reader.seconds]
        figures.counted = Counter(self.chaos.counted)
        figures.faults |= {"kill_at_a_fault_point": self.points.killed, "hold_at_a_fault_point": self.points.resumed}
        figures.s3_errors, figures.s3_cuts = self.chaos.s3.errors, self.chaos.s3.cuts

    def _line(self, violations: list[str]) -> str:
        figures = self.figures
        outcomes = ", ".join(f"{count} {state}" for state, count in sorted(figures.outcomes.items()))
        settled = f"settled in {figures.settle_seconds[-1]:.1f} s; {len(violations)} violations"
        head = f"round {figures.rounds}: {figures.faults.total()} faults"
        return "\n  ".join([f"{head}; {outcomes}; {settled}", *violations[:10]])

"""`python -m tests.faults.soak --minutes N`: a long campaign; prints one table, and keeps it with its figures."""

import argparse
import json
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from tests.faults.campaign.counting import Figures, Plan, uploaded
from tests.faults.campaign.run import Campaign

APIS, DATABASES = ("API", "API of the standbys"), ("primary", "standby", "slow standby")
RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


def figures_of(figures: Figures) -> dict[str, Any]:
    """Return the figures as a document."""
    api = sum((found for name, found in figures.looked.items() if name in APIS), Counter())
    answered = sum(count for name, count in api.items() if name not in ("503", "refused"))
    wrong = figures.wrong
    return {
        "schema": "ratesflow.soak/1",
        "seed": figures.seed,
        "minutes": round(figures.seconds / 60, 1),
        "rounds": figures.rounds,
        "strikes": figures.strikes.total(),
        "strikes_by_kind": dict(figures.strikes.most_common()),
        "s3_answers_failed": figures.s3_errors,
        "s3_bodies_cut": figures.s3_cuts,
        "batches": uploaded(figures),
        "batches_by_outcome": dict(sorted(figures.outcomes.items())),
        **{name: figures.counted[name] for name in ("moves", "forced", "merges", "two_at_once")},
        "snapshots": sum(found["snapshots"] for found in figures.looked.values()),
        **{name: sum(any(word in each for word in words) for each in wrong) for name, words in _KINDS.items()},
        "other_faults": sum(not any(word in each for words in _KINDS.values() for word in words) for each in wrong),
        "reads": {name: _reads(found) for name, found in figures.looked.items()},
        "api_answers": answered,
        "api_503": api.get("503", 0),
        "api_refused": api.get("refused", 0),
        "api_p50_ms": _percentile(figures.api_seconds, 50),
        "api_p99_ms": _percentile(figures.api_seconds, 99),
        "settled_median_s": round(median(figures.settle_seconds), 1) if figures.settle_seconds else None,
        "standby_behind_s": round(max(figures.standby_seconds, default=0.0), 2),
        "skipped": figures.skipped,
        "wrong": wrong,
    }


# What a fault is counted as, by words in its message.
_KINDS = {
    "rows_lost_or_doubled": ("of its prices", "rate (", "rates are wrong", "times, unasked"),
    "regions_not_the_sum_of_their_ports": ("disagree", "tree of regions"),
    "partial_reads": ("part of content", "is gone"),
    "older_after_newer": ("went", "noted anew"),
    "batches_without_outcome": ("no outcome",),
    "batches_nobody_was_told_of": ("told of",),
    "leftovers": ("left:",),
}


def _reads(looked: Counter[str]) -> int:
    """Return how often a reader was answered."""
    return sum(looked[name] for name in ("whole", "none", "part", "regions", "304"))


def _percentile(seconds: list[float], percent: int) -> float | None:
    if len(seconds) < 100:
        return None
    return round(quantiles(seconds, n=100)[percent - 1] * 1000, 1)


def table(found: dict[str, Any]) -> str:
    """Return the figures as one table of Markdown."""
    reads = found["reads"]
    outcomes = ", ".join(f"{count} {name}" for name, count in found["batches_by_outcome"].items())
    kinds = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in found["strikes_by_kind"].items())
    struck = found["strikes_by_kind"]
    times = [found["moves"], *(struck.get(name, 0) for name in ("demote_writer", "rotate_logins", "analyze"))]
    merges = [found[name] for name in ("merges", "forced", "two_at_once")]
    behind = [struck.get(name, 0) for name in ("lag_standby", "pause_standby")]
    answers = f"{found['api_answers']:,}, {found['api_503']:,}, {found['api_refused']:,}"
    lines = [
        ("minutes, rounds", f"{found['minutes']}, {found['rounds']}"),
        ("strikes", f"**{found['strikes']}**"),
        ("of these", kinds),
        ("answers of S3 failed, bodies cut", f"{found['s3_answers_failed']}, {found['s3_bodies_cut']}"),
        ("changes of the tree, failovers, rotations of logins, ANALYZE", ", ".join(map(str, times))),
        ("lags and pauses of the standbys", ", ".join(map(str, behind))),
        ("merges of tables, forced batches, two of a task at once", ", ".join(map(str, merges))),
        ("batches", f"**{found['batches']}**: {outcomes}"),
        ("rows lost or doubled", f"**{found['rows_lost_or_doubled']}**"),
        ("regions that are not the sum of their ports", f"**{found['regions_not_the_sum_of_their_ports']}**"),
        ("partial reads", f"**{found['partial_reads']}**"),
        ("older answers after newer ones", f"**{found['older_after_newer']}**"),
        ("batches without an outcome", f"**{found['batches_without_outcome']}**"),
        ("batches that nobody was told of, or twice differently", f"**{found['batches_nobody_was_told_of']}**"),
        ("leftovers", f"**{found['leftovers']}**"),
        ("other faults", f"**{found['other_faults']}**"),
        ("snapshots in which regions were added up", f"{found['snapshots']:,}"),
        ("reads on the primary, on the standbys", ", ".join(f"{reads.get(name, 0):,}" for name in DATABASES)),
        ("answers of both APIs, 503 with Retry-After, refused", answers),
        ("API p50, p99", f"{found['api_p50_ms']} ms, {found['api_p99_ms']} ms"),
        ("quiet after a round within (median)", f"{found['settled_median_s']} s"),
        ("standby behind at the end of a round, at most", f"{found['standby_behind_s']} s"),
    ]
    text = "\n".join(f"| {name} | {value} |" for name, value in lines)
    skipped = "".join(f"\nNot struck: {why}.\n" for why in found["skipped"])
    return f"| soak, seed {found['seed']} | measured |\n| --- | --- |\n{text}\n{skipped}"


def main() -> int:
    """Run a campaign; the exit code is 1 when anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (10)")
    parser.add_argument("--seed", type=int, default=1, help="of the schedule (1)")
    parser.add_argument("--batches", type=int, default=17, help="batches a round (17)")
    parser.add_argument("--strikes", type=int, default=27, help="strikes a round (27)")
    parser.add_argument("--seconds", type=float, default=16.0, help="seconds of strikes a round (16)")
    parser.add_argument("--keep", type=Path, default=RESULTS, help="where soak.json and soak.md go")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing of the stack is left then, too
    plan = Plan(given.seed, 0, given.minutes, given.batches, given.strikes, seconds=given.seconds)
    with tempfile.TemporaryDirectory(prefix="ratesflow-soak-", ignore_cleanup_errors=True) as folder:
        figures = Campaign(plan, Path(folder)).run(lambda line: print(line, flush=True))
    found = figures_of(figures)
    given.keep.mkdir(parents=True, exist_ok=True)
    (given.keep / "soak.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    (given.keep / "soak.md").write_text(table(found), encoding="utf-8")
    print(table(found))
    for each in found["wrong"]:
        print(each)
    return 1 if found["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())

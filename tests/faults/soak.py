"""`python -m tests.faults.soak --minutes N`: a long campaign; prints a table, and writes it with its figures."""

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
    """Return the figures as a JSON document."""
    api = sum((found for name, found in figures.reads.items() if name in APIS), Counter())
    responses = sum(count for name, count in api.items() if name not in ("503", "failed"))
    violations = figures.violations
    return {
        "schema": "ratesflow.soak/1",
        "seed": figures.seed,
        "minutes": round(figures.seconds / 60, 1),
        "rounds": figures.rounds,
        "faults": figures.faults.total(),
        "faults_by_kind": dict(figures.faults.most_common()),
        "s3_responses_failed": figures.s3_errors,
        "s3_bodies_cut": figures.s3_cuts,
        "batches": uploaded(figures),
        "batches_by_outcome": dict(sorted(figures.outcomes.items())),
        **{name: figures.counted[name] for name in ("moves", "forced", "merges", "two_at_once")},
        "snapshots": sum(found["snapshots"] for found in figures.reads.values()),
        **{name: sum(any(word in each for word in words) for each in violations) for name, words in _KINDS.items()},
        "other_violations": sum(
            not any(word in each for words in _KINDS.values() for word in words) for each in violations
        ),
        "reads": {name: _reads(found) for name, found in figures.reads.items()},
        "api_responses": responses,
        "api_503": api.get("503", 0),
        "api_failed": api.get("failed", 0),
        "api_p50_ms": _percentile(figures.api_seconds, 50),
        "api_p99_ms": _percentile(figures.api_seconds, 99),
        "settled_median_s": round(median(figures.settle_seconds), 1) if figures.settle_seconds else None,
        "standby_lag_s": round(max(figures.standby_seconds, default=0.0), 2),
        "skipped": figures.skipped,
        "violations": violations,
    }


# The categories of violations, by texts in their messages.
_KINDS = {
    "rows_lost_or_doubled": ("of its prices", "rate (", "rates are wrong", "times, not forced"),
    "regions_differing_from_their_ports": ("disagree", "region tree"),
    "partial_reads": ("part of content", "has disappeared"),
    "older_after_newer": ("went", "recorded again"),
    "batches_without_outcome": ("no outcome",),
    "batches_without_notification": ("was not notified", "was notified as"),
    "leftovers": ("leftover:",),
}


def _reads(reads: Counter[str]) -> int:
    """Return the number of responses that a reader received."""
    return sum(reads[name] for name in ("whole", "none", "part", "regions", "304"))


def _percentile(seconds: list[float], percent: int) -> float | None:
    if len(seconds) < 100:
        return None
    return round(quantiles(seconds, n=100)[percent - 1] * 1000, 1)


def table(found: dict[str, Any]) -> str:
    """Return the figures as one table of Markdown."""
    reads = found["reads"]
    outcomes = ", ".join(f"{count} {name}" for name, count in found["batches_by_outcome"].items())
    kinds = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in found["faults_by_kind"].items())
    injected = found["faults_by_kind"]
    times = [found["moves"], *(injected.get(name, 0) for name in ("demote_writer", "rotate_logins", "analyze"))]
    merges = [found[name] for name in ("merges", "forced", "two_at_once")]
    lags = [injected.get(name, 0) for name in ("lag_standby", "pause_standby")]
    responses = f"{found['api_responses']:,}, {found['api_503']:,}, {found['api_failed']:,}"
    lines = [
        ("minutes, rounds", f"{found['minutes']}, {found['rounds']}"),
        ("faults injected", f"**{found['faults']}**"),
        ("by kind", kinds),
        ("S3 responses failed, bodies cut", f"{found['s3_responses_failed']}, {found['s3_bodies_cut']}"),
        ("changes of the region tree, failovers, rotations of logins, ANALYZE", ", ".join(map(str, times))),
        ("lags and pauses of the standbys", ", ".join(map(str, lags))),
        ("merges of tables, forced batches, pairs of the same task at once", ", ".join(map(str, merges))),
        ("batches", f"**{found['batches']}**: {outcomes}"),
        ("rows lost or doubled", f"**{found['rows_lost_or_doubled']}**"),
        ("regions that differ from the sum of their ports", f"**{found['regions_differing_from_their_ports']}**"),
        ("partial reads", f"**{found['partial_reads']}**"),
        ("older responses after newer ones", f"**{found['older_after_newer']}**"),
        ("batches without an outcome", f"**{found['batches_without_outcome']}**"),
        ("batches without a notification, or with conflicting ones", f"**{found['batches_without_notification']}**"),
        ("leftovers", f"**{found['leftovers']}**"),
        ("other violations", f"**{found['other_violations']}**"),
        ("snapshots in which regions were checked", f"{found['snapshots']:,}"),
        ("reads on the primary, on the standbys", ", ".join(f"{reads.get(name, 0):,}" for name in DATABASES)),
        ("responses of both APIs, 503 with Retry-After, failed connections", responses),
        ("API p50, p99", f"{found['api_p50_ms']} ms, {found['api_p99_ms']} ms"),
        ("time until quiet after a round (median)", f"{found['settled_median_s']} s"),
        ("longest lag of a standby at the end of a round", f"{found['standby_lag_s']} s"),
    ]
    text = "\n".join(f"| {name} | {value} |" for name, value in lines)
    skipped = "".join(f"\nNot injected: {why}.\n" for why in found["skipped"])
    return f"| soak, seed {found['seed']} | measured |\n| --- | --- |\n{text}\n{skipped}"


def main() -> int:
    """Run a campaign; return 1 if there were violations."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="duration in minutes (default: 10)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the schedule (default: 1)")
    parser.add_argument("--batches", type=int, default=17, help="batches per round (default: 17)")
    parser.add_argument("--faults", type=int, default=27, help="faults per round (default: 27)")
    parser.add_argument("--seconds", type=float, default=16.0, help="seconds of faults per round (default: 16)")
    parser.add_argument("--output", type=Path, default=RESULTS, help="directory of soak.json and soak.md")
    parsed = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # removes the stack on SIGTERM, too
    plan = Plan(parsed.seed, 0, parsed.minutes, parsed.batches, parsed.faults, seconds=parsed.seconds)
    with tempfile.TemporaryDirectory(prefix="ratesflow-soak-", ignore_cleanup_errors=True) as folder:
        figures = Campaign(plan, Path(folder)).run(lambda line: print(line, flush=True))
    found = figures_of(figures)
    parsed.output.mkdir(parents=True, exist_ok=True)
    (parsed.output / "soak.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    (parsed.output / "soak.md").write_text(table(found), encoding="utf-8")
    print(table(found))
    for each in found["violations"]:
        print(each)
    return 1 if found["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())

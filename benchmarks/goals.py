"""The goals, by the names of their measures."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    """The upper bound of a measure, or the lower one with `at_least`; `description` explains the measure."""

    name: str
    bound: float
    description: str
    unit: str = "×"
    at_least: bool = False

    def met(self, value: float) -> bool:
        """Return whether a value meets the goal."""
        return value >= self.bound if self.at_least else value <= self.bound

    @property
    def target(self) -> str:
        """The bound as text."""
        return f"at {'least' if self.at_least else 'most'} {self.bound:g}{self.unit}"


GOALS = (
    Goal(
        "load_1m_vs_bare_copy", 3, "1,000,000 rows: validate, load and commit in a warm process, over a bare `\\copy`"
    ),
    Goal("load_1m_whole_vs_bare_copy", 5, "the same as three new processes, over a bare `\\copy`"),
    Goal("load_1m_vs_first_schema", 0.10, "as three new processes, over `\\copy` into the first version's schema"),
    Goal("load_1m_vs_dlt", 0.40, "as three new processes, over dlt's append (only `pipeline.run`, in a warm process)"),
    Goal("commit_ms_10m", 10, "the commit of 10,000,000 rows", " ms"),
    Goal("commit_10m_vs_10k", 2, "the commit of 10,000,000 rows, over that of 10,000"),
    Goal("peak_mb_10m", 200, "peak memory of any task, 10,000,000 rows", " MB"),
    Goal("peak_10m_vs_100k", 1.1, "the same, over that with 100,000 rows"),
    Goal("two_shards_validate_vs_one", 0.65, "validate 4,000,000 rows in two shards, over one shard"),
    Goal("reader_p99_commit_vs_idle", 1.5, "a reader's p99 while batches commit, over idle"),
    Goal("reader_p99_compact_vs_idle", 1.5, "a reader's p99 during a compaction, over idle"),
    Goal("read_after_2000_vs_one", 1.5, "a read after 2,000 batches and compaction, over a read after one batch"),
    Goal("undo_1_lane_300k_days_vs_load", 2, "undo of 300,000 days of one lane, over its validate and load"),
    Goal("undo_100_lanes_10k_days_vs_load", 2, "undo of 10,000 days of 100 lanes, over its validate and load"),
    Goal("undo_4k_lanes_60_days_vs_load", 2, "undo of 1,000,000 rows on 4,000 lanes, over its validate and load"),
    Goal("tree_move_port_longest_commit_ms", 2000, "the longest commit while one of 5,000 ports moves", " ms"),
    Goal("tree_move_region_longest_commit_ms", 2000, "the same while a region of 100 ports moves", " ms"),
    Goal("tree_read_region_vs_port", 5, "a read of a month between top regions of that tree, over one between ports"),
    Goal("api_cold_vs_first", 8, "responses per second from the database, over the first version's", at_least=True),
    Goal(
        "api_cold_vs_fastapi", 3.5, "the same, over FastAPI and asyncpg with the first version's query", at_least=True
    ),
    Goal("api_cached_vs_hello", 0.65, 'cached responses per second, over "hello" on the same server', at_least=True),
    Goal("api_p99_10m_vs_56k", 1.5, "the API's p99 at 10,000,000 prices, over that at 56,689"),
    Goal(
        "api_commits_cached_vs_dropped",
        3,
        "share of cached responses while two batches of 10,000 rows commit each second, over the share if each commit "
        "invalidated the whole cache",
        at_least=True,
    ),
    Goal("api_failed_in_restarts", 0, "requests failed while workers and database restart", ""),
    Goal("region_year_vs_port_month", 5, "a year between regions, over a month between ports"),
)

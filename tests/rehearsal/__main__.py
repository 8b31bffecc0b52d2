"""`python -m tests.rehearsal --workspace sandbox`: the first run on AWS, rehearsed; see docs/deploy.md."""

import argparse
import os
import sys
from pathlib import Path

from tests.rehearsal import progress, signals
from tests.rehearsal.rehearsing import clean_up, rehearse, tell_what_is_left
from tests.rehearsal.runner import CommandError, Runner, environment_of
from tests.rehearsal.settings import ROOT
from tests.rehearsal.signals import InterruptedRehearsal, LeftRehearsal
from tests.rehearsal.stage import Options, Stage
from tests.rehearsal.stages import preflight
from tests.rehearsal.stages.steps import NAMES, Step, chosen
from tests.rehearsal.verified import first_lines

REFUSED, INTERRUPTED = 2, 130


def main(arguments: list[str] | None = None) -> int:
    """Rehearse, and return 0 if all held, 1 if something did not, 2 if it never began, 130 if it was interrupted."""
    given = _parser().parse_args(arguments)
    print("\n".join(first_lines()), "", sep="\n", flush=True)
    signals.listen()
    try:
        steps = chosen(given.only, given.skip, given.begin, keep=given.keep)
        folder: Path = (given.folder or ROOT / ".rehearsal" / given.workspace).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        lock = progress.lock(folder)
        stage = _stage(given, folder)
        if given.clean_up:
            preflight.check_clean_up(stage)
        else:
            _preflight(given, stage)
    except (ValueError, CommandError, preflight.RefusedError) as error:
        print(f"Not begun. {error}", file=sys.stderr)
        return REFUSED
    except InterruptedRehearsal:
        print("Interrupted before anything was made.", file=sys.stderr)
        return INTERRUPTED
    with lock:
        try:
            if given.clean_up:
                return clean_up(stage)
            file = given.report or folder / "report.md"
            return rehearse(stage, steps, file, keep=given.keep or bool(given.only))
        except (InterruptedRehearsal, LeftRehearsal):  # while the report was written
            tell_what_is_left(stage)
            return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.rehearsal", description=main.__doc__)
    parser.add_argument("--workspace", default="sandbox", help="the environment to make and destroy (default: sandbox)")
    parser.add_argument("--region", default=os.environ.get("AWS_DEFAULT_REGION") or os.environ.get("AWS_REGION"))
    parser.add_argument("--yes", action="store_true", help="do not ask for the account's id")
    parser.add_argument("--keep", action="store_true", help="leave the environment up, whatever happens")
    parser.add_argument("--only", type=_names, default=[], metavar="STEP,…", help="only these; cleans nothing up")
    parser.add_argument("--skip", type=_names, default=[], metavar="STEP,…", help="all but these")
    parser.add_argument("--from", dest="begin", metavar="STEP", help="go on with this step")
    parser.add_argument("--clean-up", action="store_true", help="only take away what a former rehearsal left")
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="where the report goes, as Markdown; JSON beside it"
    )
    parser.add_argument(
        "--folder", type=Path, help="where files, transcript and progress are (default: .rehearsal/NAME)"
    )
    parser.add_argument("--rows", type=int, default=Options.rows, help="rows of a small batch")
    parser.add_argument("--large-rows", type=int, default=Options.large_rows, help="rows of a large batch")
    parser.add_argument("--pause", type=float, default=Options.pause_seconds, help="seconds between two looks")
    parser.add_argument("--wait", type=float, default=Options.wait_seconds, help="seconds that something is waited for")
    parser.epilog = f"Steps: {', '.join(NAMES)}."
    return parser


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _stage(given: argparse.Namespace, folder: Path) -> Stage:
    """Return the stage, with what a former run has written down. Raises ValueError."""
    if not given.region:
        raise ValueError("No region: give --region, or set AWS_DEFAULT_REGION.")
    file = folder / "progress.json"
    found = progress.load(file, given.workspace)
    going_on = given.begin or given.clean_up or (given.only and found)
    if going_on and found is None:
        raise ValueError(f"There is no rehearsal to go on with: {file} is not there.")
    if found and found.made and not going_on:
        raise ValueError(
            f"The last rehearsal left {', '.join(found.made)}: go on with --from STEP, or take it away with --clean-up."
        )
    at = found if going_on and found else progress.begin(file, given.workspace, given.region)
    options = Options(given.workspace, at.region, folder, given.rows, given.large_rows, given.wait, given.pause)
    runner = Runner(folder, environment_of(at.region, Path(sys.executable)), _say, ROOT)
    stage = Stage(options, runner, at, _say)
    for path in map(Path, at.committed):
        stage.expected.add(path)
    return stage


def _preflight(given: argparse.Namespace, stage: Stage) -> None:
    """Look before anything is made, tell, and ask. Raises RefusedError."""
    for line in preflight.check(stage, begun="environment" in stage.progress.made):
        _say(line)
    if not given.yes:
        preflight.ask(stage, input)
    stage.progress.save()


def _say(text: str) -> None:
    print(text, flush=True)


__all__ = ["Step", "main"]

if __name__ == "__main__":
    sys.exit(main())

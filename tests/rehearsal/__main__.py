"""`python -m tests.rehearsal --workspace sandbox`: rehearses a first deployment on AWS; see docs/deploy.md."""

import argparse
import os
import sys
from pathlib import Path

from tests.rehearsal import progress, signals
from tests.rehearsal.rehearsing import clean_up, print_remaining, rehearse
from tests.rehearsal.runner import CommandError, Runner, environment_of
from tests.rehearsal.settings import ROOT
from tests.rehearsal.signals import AbortedRehearsal, InterruptedRehearsal
from tests.rehearsal.stage import Options, Stage
from tests.rehearsal.stages import preflight
from tests.rehearsal.stages.steps import NAMES, Step, chosen
from tests.rehearsal.verified import first_lines

NOT_STARTED, INTERRUPTED = 2, 130


def main(arguments: list[str] | None = None) -> int:
    """Run a rehearsal. Return 0 if all steps passed, 1 if one failed, 2 if it did not start, 130 if interrupted."""
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
    except (ValueError, CommandError, preflight.PreflightError) as error:
        print(f"Not started. {error}", file=sys.stderr)
        return NOT_STARTED
    except InterruptedRehearsal:
        print("Interrupted before anything was created.", file=sys.stderr)
        return INTERRUPTED
    with lock:
        try:
            if given.clean_up:
                return clean_up(stage)
            file = given.report or folder / "report.md"
            return rehearse(stage, steps, file, keep=given.keep or bool(given.only))
        except (InterruptedRehearsal, AbortedRehearsal):  # during the report
            print_remaining(stage)
            return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.rehearsal", description=main.__doc__)
    parser.add_argument("--workspace", default="sandbox", help="environment to create and destroy (default: sandbox)")
    parser.add_argument("--region", default=os.environ.get("AWS_DEFAULT_REGION") or os.environ.get("AWS_REGION"))
    parser.add_argument("--yes", action="store_true", help="do not ask for the account ID")
    parser.add_argument("--keep", action="store_true", help="keep the environment in any case")
    parser.add_argument("--only", type=_names, default=[], metavar="STEP,…", help="run only these, without clean-up")
    parser.add_argument("--skip", type=_names, default=[], metavar="STEP,…", help="skip these steps")
    parser.add_argument("--from", dest="begin", metavar="STEP", help="continue with this step")
    parser.add_argument("--clean-up", action="store_true", help="only remove what an earlier rehearsal left")
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="file of the Markdown report; the JSON report is written beside it"
    )
    parser.add_argument(
        "--folder", type=Path, help="folder of files, transcript and progress (default: .rehearsal/NAME)"
    )
    parser.add_argument("--rows", type=int, default=Options.rows, help="rows of a small batch")
    parser.add_argument("--large-rows", type=int, default=Options.large_rows, help="rows of a large batch")
    parser.add_argument("--pause", type=float, default=Options.pause_seconds, help="seconds between two polls")
    parser.add_argument("--wait", type=float, default=Options.wait_seconds, help="time limit of waits in seconds")
    parser.epilog = f"Steps: {', '.join(NAMES)}."
    return parser


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _stage(given: argparse.Namespace, folder: Path) -> Stage:
    """Return the stage, with the progress of an earlier run. Raises ValueError."""
    if not given.region:
        raise ValueError("No region: use --region, or set AWS_DEFAULT_REGION.")
    file = folder / "progress.json"
    found = progress.load(file, given.workspace)
    continues = given.begin or given.clean_up or (given.only and found)
    if continues and found is None:
        raise ValueError(f"There is no rehearsal to continue: {file} does not exist.")
    if found and found.created and not continues:
        raise ValueError(
            f"The last one left {', '.join(found.created)}: use --from STEP to continue, --clean-up to remove it."
        )
    at = found if continues and found else progress.begin(file, given.workspace, given.region)
    options = Options(given.workspace, at.region, folder, given.rows, given.large_rows, given.wait, given.pause)
    runner = Runner(folder, environment_of(at.region, Path(sys.executable)), _print_line, ROOT)
    stage = Stage(options, runner, at, _print_line)
    for path in map(Path, at.committed):
        stage.expected.add(path)
    return stage


def _preflight(given: argparse.Namespace, stage: Stage) -> None:
    """Check the prerequisites, print the costs, and ask for confirmation. Raises PreflightError."""
    for line in preflight.check(stage, begun="environment" in stage.progress.created):
        _print_line(line)
    if not given.yes:
        preflight.confirm_account(stage, input)
    stage.progress.save()


def _print_line(text: str) -> None:
    print(text, flush=True)


__all__ = ["Step", "main"]

if __name__ == "__main__":
    sys.exit(main())

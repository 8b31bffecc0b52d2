"""Generates files from the declarations of the tasks: `python -m ratesflow.loader.job_definitions`.

- `workflow/job_definitions.json`: for Terraform, the state machine's definition, the embedded stack and the commands,
  since the workflow may not import the loader.
- `docs/tasks.md`: the tasks in a table.
- `docs/schemas/result.json`: the tasks and outcomes that a result document may have.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

from ratesflow.loader.tasks.registry import Task, all_tasks

ROOT = Path(__file__).resolve().parents[1]
DEFINITIONS = ROOT / "workflow" / "job_definitions.json"
TABLE = ROOT / "docs" / "tasks.md"
SCHEMA = ROOT / "docs" / "schemas" / "result.json"

# The exit codes of `python -m ratesflow.loader`: 0 done, 64 usage, 65 closed or changed meanwhile, 70 internal,
# 75 transient. 1* is a process that was ended: 1 by its own watchdog, 128 plus a number by a signal, such as 137 by
# SIGKILL on an instance that was terminated. A Fargate Spot task gets SIGTERM first; the loader then exits with 75.
# Batch allows five rules and a glob only at the end of a pattern, and it retries a job that *matches no rule*. The last
# rule therefore ends every job with an exit code. A job without one never ran (no image, network interface or secret):
# it matches no rule and is retried, up to its number of attempts.
RETRY_RULES = [
    {"action": "RETRY", "onExitCode": "75"},
    {"action": "RETRY", "onExitCode": "1*"},
    {"action": "RETRY", "onStatusReason": "Host EC2*"},
    {"action": "RETRY", "onStatusReason": "Your Spot Task was interrupted*"},
    {"action": "EXIT", "onExitCode": "*"},
]

_TABLE = """\
# Tasks

All access to the database, except the API's, runs as one of these tasks, each an AWS Batch job.
`python -m ratesflow.loader.job_definitions` generates this page from the declarations in `loader/tasks/`.

| task | what it does | arguments | outcomes | vCPUs, MiB | seconds × attempts | login |
| --- | --- | --- | --- | --- | --- | --- |
{rows}

The tasks of a batch ({batch_tasks}) run in the state machine and take {batch_arguments}.
All others take `run_id`, the name under which the result is stored. A schedule or a command starts them.
"""


def files() -> dict[Path, str]:
    """Return the text of each file."""
    tasks = all_tasks()
    assert len({task.name for task in tasks}) == len(tasks)  # each has the name of its file
    return {DEFINITIONS: _definitions(tasks), TABLE: _table(tasks), SCHEMA: _schema(tasks)}


def _definitions(tasks: list[Task]) -> str:
    document = {"retry_rules": RETRY_RULES, "tasks": {task.name: _definition(task) for task in tasks}}
    text = json.dumps(document, indent=2) + "\n"
    # Each innermost list on one line, so that a command reads as a command.
    return re.sub(
        r"\[[^][{}]+\]", lambda words: re.sub(r"\s*\n\s*", " ", words[0]).replace("[ ", "[").replace(" ]", "]"), text
    )


def _definition(task: Task) -> dict[str, Any]:
    arguments = task.all_arguments
    return {
        "help": task.help,
        "of_batch": task.of_batch,
        "sharded": task.sharded,
        "outcomes": task.outcomes,
        "login": task.login,
        "permissions": task.permissions,
        "vcpus": task.vcpus,
        "memory_mib": task.memory_mib,
        "run_seconds": task.run_seconds,
        "attempts": task.attempts,
        # Batch replaces each `Ref::name` by the job's parameter.
        "command": [task.name, *(part for each in arguments for part in (each.flag, f"Ref::{each.name}"))],
        "required": [each.name for each in arguments if each.default in (None, "")],
        "defaults": {each.name: str(each.default) for each in arguments if each.default not in (None, "")},
    }


def _table(tasks: list[Task]) -> str:
    of_batch = [task for task in tasks if task.of_batch]
    rows = [_row(task) for task in sorted(tasks, key=lambda task: not task.of_batch)]
    return _TABLE.format(
        rows="\n".join(rows),
        batch_tasks=_names(task.name for task in of_batch),
        batch_arguments=_names(argument.name for argument in of_batch[0].all_arguments),
    )


def _row(task: Task) -> str:
    own = [f"`{each.name}`: {each.help}" + _default(each.default) for each in task.own_arguments]
    cells = [
        f"`{task.name}`",
        task.help.replace("|", "\\|"),
        "<br>".join(own).replace("|", "\\|"),
        ", ".join(task.outcomes),
        f"{task.vcpus:g}, {task.memory_mib}",
        f"{task.run_seconds} × {task.attempts}",
        task.login,
    ]
    return f"| {' | '.join(cells)} |"


def _default(default: str | int | None) -> str:
    return "" if default is None else f" (default {default})"


def _names(names: Any) -> str:
    *most, last = [f"`{name}`" for name in names]
    return f"{', '.join(most)} and {last}"


def _schema(tasks: list[Task]) -> str:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    schema["properties"]["task"]["enum"] = [task.name for task in tasks]
    schema["properties"]["outcome"]["enum"] = sorted({outcome for task in tasks for outcome in task.outcomes})
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the files. Exits with 1, with a message, in an installed package."""
    if not SCHEMA.is_file():
        sys.exit(f"{ROOT} is not a checkout of ratesflow, which this command needs: it writes to workflow/ and docs/.")
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

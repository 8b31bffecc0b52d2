"""`ratesflow graph`."""

from pathlib import Path
from typing import Any

import click

from ratesflow.workflow.cli.autocompletion import complete_execution
from ratesflow.workflow.cli.context import CliContext
from ratesflow.workflow.cli.output import notice


@click.command()
@click.argument("execution", required=False, shell_complete=complete_execution)
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="FILE.svg or FILE.mmd."
)
@click.pass_obj
def graph(context: CliContext, execution: str | None, output: Path | None) -> None:
    """Draw the state machine, or an execution on it.

    The graph of an execution shows the outcome, time, retries and rows of each state. The suffix of FILE selects SVG
    (.svg) or Mermaid (.mmd); without FILE, Mermaid is printed. The state machine alone needs no stack.

    \b
    Example:
      ratesflow graph prices-2021-01-0123456789abcdef -o prices.svg

    Exit codes: 0 drawn, 1 there is no execution of that name, 2 unknown suffix, 69 no stack.
    """
    if output is not None and output.suffix not in (".svg", ".mmd"):
        raise click.BadParameter(f"{output} must end in .svg or .mmd", param_hint="-o")
    drawn = _graph(context, execution)
    if output is None or output.suffix == ".mmd":
        from ratesflow.workflow.diagram.graph import mermaid

        text = mermaid(drawn)
    else:
        from ratesflow.workflow.diagram.svg import svg

        text = svg(drawn)
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")
        notice(f"{output}: {len(drawn.nodes)} states")


def _graph(context: CliContext, execution: str | None) -> Any:
    import json

    from ratesflow.workflow.diagram.graph import machine_graph
    from ratesflow.workflow.placeholders import definition_text

    if execution is None:
        return machine_graph(json.loads(definition_text()))
    from ratesflow.workflow.diagram.execution_graph import draw_execution

    return draw_execution(context.environment(), execution)

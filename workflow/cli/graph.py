"""The picture of the state machine and of an execution on it, and the console's address."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from ratesflow.workflow.cli.autocompletion import complete_execution
from ratesflow.workflow.cli.context import PORT, CliContext, say


@click.command()
@click.argument("execution", required=False, shell_complete=complete_execution)
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="FILE.svg or FILE.mmd."
)
@click.pass_obj
def graph(context: CliContext, execution: str | None, output: Path | None) -> None:
    """Draw the state machine, or an execution on it: what each state came to, its time, retries and rows.

    The suffix of FILE chooses SVG (.svg) or Mermaid (.mmd); without FILE Mermaid is printed. The machine alone
    needs no stack.

    \b
    Example:
      ratesflow graph prices-2021-01-0123456789abcdef -o prices.svg

    Exit codes: 0 drawn, 1 there is no execution of that name, 2 another suffix, 69 no stack.
    """
    if output is not None and output.suffix not in (".svg", ".mmd"):
        raise click.BadParameter(f"{output} must end in .svg or .mmd", param_hint="-o")
    drawn = _graph(context, execution)
    if output is None or output.suffix == ".mmd":
        from ratesflow.workflow.diagram.graph import mermaid

        text = mermaid(drawn)
    else:
        from ratesflow.workflow.diagram.layout import LayoutMissingError
        from ratesflow.workflow.diagram.svg import svg

        try:
            text = svg(drawn)
        except LayoutMissingError as error:
            raise click.ClickException(str(error)) from error
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")
        say(f"{output}: {len(drawn.nodes)} states")


def _graph(context: CliContext, execution: str | None) -> Any:
    import json

    from ratesflow.workflow.diagram.graph import machine_graph
    from ratesflow.workflow.placeholders import definition_text

    if execution is None:
        return machine_graph(json.loads(definition_text()))
    from ratesflow.workflow.diagram.execution_graph import draw_execution

    return draw_execution(context.environment(), execution)


@click.command()
@click.option("--open", "open_page", is_flag=True, help="Open it in the browser, too.")
@click.option("--port", type=PORT, default=8081, show_default=True, help="With --env: where to listen on this machine.")
@click.pass_obj
def console(context: CliContext, open_page: bool, port: int) -> None:
    """Print the address of the console: batches, their steps, logs and reports, the ledger, in a browser.

    The embedded stack serves its own while it is up. For an environment on AWS this command serves one here, on
    this machine alone and with your own credentials, until Ctrl-C.

    \b
    Example:
      ratesflow --env prod console

    Exit codes: 0 printed, or served and ended, 1 it could not start (the message says why), 69 no stack.
    """
    environment = context.environment()
    if not environment.is_local:
        _serve(context.env, port, open_page)
        return
    address = environment.values.get("RATESFLOW_CONSOLE_URL", "")
    click.echo(address)
    if open_page:
        click.launch(address)


def _serve(name: str | None, port: int, open_page: bool) -> None:
    """Run the console as a process of its own, as the embedded stack does, until Ctrl-C."""
    command = [
        sys.executable,
        "-P",
        "-m",
        "ratesflow.workflow.console",
        "--port",
        str(port),
        *(["--env", name] if name else []),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            address = process.stdout.readline().strip()
            if not address:
                sys.exit(process.wait())  # it has said why
            click.echo(address)
            say("This address lets its reader act with your credentials: keep it to yourself. Ctrl-C ends the console.")
            if open_page:
                click.launch(address)
            sys.exit(process.wait())
        except KeyboardInterrupt:
            process.terminate()


COMMANDS = (graph, console)

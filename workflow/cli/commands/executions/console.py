"""`ratesflow console`."""

import subprocess
import sys

import click

from ratesflow.workflow.cli.context import PORT, CliContext
from ratesflow.workflow.cli.output import notice


@click.command()
@click.option("--open", "open_page", is_flag=True, help="Also open it in the browser.")
@click.option("--port", type=PORT, default=8081, show_default=True, help="With --env: the port to listen on.")
@click.pass_obj
def console(context: CliContext, open_page: bool, port: int) -> None:
    """Print the address of the console, for a browser.

    The console shows batches with their steps, logs and reports, and the ledger. The embedded stack serves it while
    it is up. For an environment on AWS this command serves it until Ctrl-C, on this machine only and with your own
    credentials.

    \b
    Example:
      ratesflow --env prod console

    Exit codes: 0 printed, or served and stopped, 1 it could not start (the message has the reason), 69 no stack.
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
    """Run the console as a separate process, as the embedded stack does, until Ctrl-C."""
    command = [sys.executable, "-P", "-m", "ratesflow.workflow.console", "--port", str(port)]
    command += ["--env", name] if name else []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            address = process.stdout.readline().strip()
            if not address:
                sys.exit(process.wait())  # it has printed the reason
            click.echo(address)
            notice("Anyone with this address can act with your credentials: keep it private. Ctrl-C stops the console.")
            if open_page:
                click.launch(address)
            sys.exit(process.wait())
        except KeyboardInterrupt:
            process.terminate()

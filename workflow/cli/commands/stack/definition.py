"""`ratesflow definition`."""

import click


@click.command()
def definition() -> None:
    """Print the state machine in the Amazon States Language.

    Names that a deployment substitutes are printed as ${…}.

    \b
    Example:
      ratesflow definition > machine.asl.json

    Exit codes: 0 printed.
    """
    from ratesflow.workflow.placeholders import definition_text

    click.echo(definition_text(), nl=False)

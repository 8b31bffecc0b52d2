"""`ratesflow` and `python -m ratesflow`: the command line."""

from ratesflow.extras import exit_without_extra


def main() -> None:
    """Run the command line."""
    with exit_without_extra("cli", "The command line"):
        from ratesflow.workflow.cli import main as command_line
    command_line(prog_name="ratesflow")


if __name__ == "__main__":
    main()

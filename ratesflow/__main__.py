"""`python -m ratesflow`: the command line."""

from ratesflow.workflow.cli import main

if __name__ == "__main__":
    main(prog_name="ratesflow")

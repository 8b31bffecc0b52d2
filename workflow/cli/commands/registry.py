"""The list of all commands, by subject: the stack, batches, executions, upkeep."""

from ratesflow.workflow.cli.commands.batches.batches import batches
from ratesflow.workflow.cli.commands.batches.ingest import ingest
from ratesflow.workflow.cli.commands.batches.rates import rates
from ratesflow.workflow.cli.commands.batches.sample import sample
from ratesflow.workflow.cli.commands.batches.undo import undo
from ratesflow.workflow.cli.commands.batches.validate import validate
from ratesflow.workflow.cli.commands.executions.console import console
from ratesflow.workflow.cli.commands.executions.executions import executions
from ratesflow.workflow.cli.commands.executions.graph import graph
from ratesflow.workflow.cli.commands.executions.redo import redo
from ratesflow.workflow.cli.commands.executions.redrive import redrive
from ratesflow.workflow.cli.commands.executions.show import show
from ratesflow.workflow.cli.commands.executions.start import start
from ratesflow.workflow.cli.commands.executions.stop import stop
from ratesflow.workflow.cli.commands.stack.definition import definition
from ratesflow.workflow.cli.commands.stack.down import down
from ratesflow.workflow.cli.commands.stack.env import env
from ratesflow.workflow.cli.commands.stack.up import up
from ratesflow.workflow.cli.commands.upkeep.compact import compact
from ratesflow.workflow.cli.commands.upkeep.gc import gc
from ratesflow.workflow.cli.commands.upkeep.migrate import migrate
from ratesflow.workflow.cli.commands.upkeep.reference import reference

COMMANDS = (
    *(up, down, env, definition),
    *(sample, validate, ingest, batches, undo, rates),
    *(executions, show, start, stop, redo, redrive, graph, console),
    *(compact, gc, migrate, reference),
)

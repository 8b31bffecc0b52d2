"""Patches moto's StartExecution, StopExecution, DescribeExecution, ListExecutions and GetExecutionHistory.

moto 5.2.5 loses executions when the server ends, and a stopped execution continues to run. StartExecution includes the
change of https://github.com/getmoto/moto/pull/9500 for ended executions.
"""

from __future__ import annotations

import copy
import datetime
import random
import threading
import time
import uuid
from dataclasses import dataclass
from typing import Any

from moto.core.responses import ActionResult
from moto.stepfunctions.exceptions import ExecutionAlreadyExists, InvalidToken
from moto.stepfunctions.parser.api import ExecutionStatus
from moto.stepfunctions.parser.asl.eval.program_state import ProgramStopped
from moto.stepfunctions.parser.asl.utils.encoding import to_json_str
from moto.stepfunctions.parser.backend.execution import BaseExecutionWorkerCommunication, Execution
from moto.stepfunctions.parser.models import StepFunctionsParserBackend
from moto.stepfunctions.responses import StepFunctionResponse

from ratesflow.local.aws.settings import Settings
from ratesflow.local.aws.stepfunctions.execution_records import ExecutionRecords
from ratesflow.local.aws.stepfunctions.versions import find_alias

_PAGE = 100  # what AWS returns when maxResults is not given
_LIST_LIMIT = _HISTORY_LIMIT = 1000
_START_SECONDS = 2.0

# Two simultaneous requests with the same name must start one execution.
_start_lock = threading.Lock()
_records_lock = threading.Lock()
# moto sets an execution's status before its output, error and cause: nobody may read them in between.
_ending_lock = threading.RLock()
_records: ExecutionRecords


@dataclass(frozen=True)
class _Target:
    """The target of StartExecution: a machine, with the version to run if the ARN names one."""

    machine: Any
    version: Any | None = None
    alias: Any | None = None


def install(settings: Settings) -> None:
    """Patch executions in this process."""
    global _records
    _records = ExecutionRecords(settings.data_dir)
    StepFunctionsParserBackend.start_execution = _start_execution
    BaseExecutionWorkerCommunication._reflect_execution_status = _keep_first_end(
        BaseExecutionWorkerCommunication._reflect_execution_status
    )
    StepFunctionResponse.stop_execution = _stop_execution
    StepFunctionResponse.describe_execution = _describe_execution
    StepFunctionResponse.describe_state_machine_for_execution = _describe_machine
    StepFunctionResponse.list_executions = _list_executions
    StepFunctionResponse.get_execution_history = _get_execution_history


def _start_execution(
    backend: Any,
    state_machine_arn: str,
    name: str | None = None,
    execution_input: str | None = None,
    trace_header: str | None = None,
) -> Any:
    """Implement StartExecution by the ARN of a machine, a version or an alias; the default name is a UUID."""
    name = name or str(uuid.uuid4())
    backend._validate_name(name)
    target = _resolve(backend, state_machine_arn)
    machine = target.machine
    machine._validate_execution_input(execution_input or "{}")
    with _start_lock:
        existing = machine._handle_name_input_idempotency(name, execution_input)
        if existing is not None:
            return existing
        execution = Execution(
            name=name,
            sm_type=machine.sm_type,
            role_arn=machine.roleArn,
            exec_arn=f"{machine.arn.replace(':stateMachine:', ':execution:')}:{name}",
            account_id=backend.account_id,
            region_name=backend.region_name,
            state_machine=_snapshot(target),
            start_date=datetime.datetime.now(tz=datetime.UTC),
            cloud_watch_logging_session=None,
            input_data=execution_input or "{}",
            trace_header=trace_header,
            activity_store={},
        )
        execution.version_arn = target.version.arn if target.version else None
        execution.alias_arn = target.alias.arn if target.alias else None
        if _records.ended(execution.execution_arn):
            raise ExecutionAlreadyExists(f"Execution Already Exists: '{execution.execution_arn}'")
        machine.executions.append(execution)
        if target.version:
            target.version.executions.append(execution)
        execution.start()
        _write_record(execution)
    return execution


def _resolve(backend: Any, arn: str) -> _Target:
    alias = find_alias(backend, arn)
    if alias is not None:
        routes = alias.routing_configuration
        chosen = random.choices(routes, [route["weight"] for route in routes])[0]  # noqa: S311
        arn = chosen["stateMachineVersionArn"]
    found = backend.describe_state_machine(arn)
    if not hasattr(found, "source_arn"):
        return _Target(found)
    return _Target(backend.describe_state_machine(found.source_arn), found, alias)


def _snapshot(target: _Target) -> Any:
    """Return a copy of the machine: an execution keeps the definition that it started with."""
    snapshot = copy.copy(target.machine)
    snapshot.executions = []
    if target.version:
        snapshot.definition = target.version.definition
        snapshot.roleArn = target.version.roleArn
    return snapshot


def _keep_first_end(original: Any) -> Any:
    """Keep the status of StopExecution, which the interpreter must not overwrite when it stops later."""

    def reflect(self: Any) -> None:
        with _ending_lock:
            if self.execution.exec_status == ExecutionStatus.RUNNING:
                original(self)
        _write_record(self.execution)

    return reflect


def _write_record(execution: Any) -> None:
    with _records_lock:  # the thread that ends an execution may be faster than the one that starts it
        events = execution.to_history_output()["events"]
        _records.write(_description(execution), _machine_of(execution), events)


def _stop_execution(response: Any) -> Any:
    if record := _records.ended(response._get_param("executionArn")):
        return ActionResult({"stopDate": record["stopDate"]})
    execution = response.stepfunction_backend.describe_execution(response._get_param("executionArn"))
    error, cause = response._get_param("error"), response._get_param("cause")
    if execution.exec_status == ExecutionStatus.RUNNING:
        stop_date = datetime.datetime.now(tz=datetime.UTC)
        limit = time.monotonic() + _START_SECONDS
        while execution.exec_worker.env is None and time.monotonic() < limit:  # not parsed yet
            time.sleep(0.01)
        with _ending_lock:
            execution.stop(stop_date=stop_date, error=error, cause=cause)
            is_stopped = isinstance(execution.exec_worker.env.program_state(), ProgramStopped)
            if is_stopped:  # it has not just ended by itself
                execution.error, execution.cause = error, cause
                execution.stop_date = stop_date
                execution.exec_status = ExecutionStatus.ABORTED
        if is_stopped:
            _write_record(execution)
    return ActionResult({"stopDate": execution.stop_date})


def _dates(execution: Any) -> dict[str, Any]:
    dates = {"startDate": execution.start_date}
    if execution.exec_status != ExecutionStatus.RUNNING and execution.stop_date:
        dates["stopDate"] = execution.stop_date
    return dates


def _machine_arns(execution: Any) -> dict[str, str]:
    arns = {"stateMachineArn": execution.state_machine_arn}
    if execution.version_arn:
        arns["stateMachineVersionArn"] = execution.version_arn
    if execution.alias_arn:
        arns["stateMachineAliasArn"] = execution.alias_arn
    return arns


def _describe_execution(response: Any) -> Any:
    arn = response._get_param("executionArn")
    record = _records.ended(arn)
    return ActionResult(record or _description(response.stepfunction_backend.describe_execution(arn)))


def _description(execution: Any) -> dict[str, Any]:
    with _ending_lock:
        return _describe(execution)


def _describe(execution: Any) -> dict[str, Any]:
    description = {
        "executionArn": execution.execution_arn,
        "name": execution.name,
        "status": execution.status,
        "input": execution.execution_input,
        "inputDetails": {"included": True},
        **_machine_arns(execution),
        **_dates(execution),
    }
    if execution.exec_status == ExecutionStatus.SUCCEEDED:
        description["output"] = to_json_str(execution.output, separators=(",", ":"))
        description["outputDetails"] = {"included": True}
    for name in ("error", "cause"):
        if getattr(execution, name) is not None:
            description[name] = getattr(execution, name)
    return description


def _describe_machine(response: Any) -> Any:
    """Implement DescribeStateMachineForExecution: the machine as it was when the execution started."""
    arn = response._get_param("executionArn")
    if _records.ended(arn):
        return ActionResult(_records.machine(arn))
    return ActionResult(_machine_of(response.stepfunction_backend.describe_execution(arn)))


def _machine_of(execution: Any) -> dict[str, Any]:
    machine = execution.state_machine
    return {
        "stateMachineArn": machine.arn,
        "name": machine.name,
        "definition": machine.definition,
        "roleArn": machine.roleArn,
        "updateDate": machine.update_date,
        "loggingConfiguration": machine.loggingConfiguration,
    }


_LISTED = (
    "executionArn",
    "name",
    "status",
    "stateMachineArn",
    "stateMachineVersionArn",
    "stateMachineAliasArn",
    "startDate",
    "stopDate",
)


def _list_executions(response: Any) -> Any:
    """Implement ListExecutions, newest first, with those of earlier runs of the stack; a token is the last ARN."""
    arn, status = response._get_param("stateMachineArn"), response._get_param("statusFilter")
    backend = response.stepfunction_backend
    alias = find_alias(backend, arn)
    machine = backend.describe_state_machine(alias.statemachine_arn if alias else arn)
    found = [_description(execution) for execution in list(machine.executions)] + _records.ended_of(machine.arn)
    found = [
        {name: each[name] for name in _LISTED if name in each}
        for each in sorted(found, key=lambda each: each["startDate"], reverse=True)
        if status in (None, each["status"]) and (alias is None or each.get("stateMachineAliasArn") == alias.arn)
    ]
    page, token = _page(response, found, "executionArn", _LIST_LIMIT)
    return ActionResult({"executions": page, "nextToken": token} if token else {"executions": page})


def _get_execution_history(response: Any) -> Any:
    """Implement GetExecutionHistory; a token is the last event's id, so that new events do not shift pages."""
    arn = response._get_param("executionArn")
    if _records.ended(arn):
        events = _records.events(arn)
    else:
        events = list(response.stepfunction_backend.get_execution_history(arn)["events"])
    if response._get_bool_param("reverseOrder"):
        events.reverse()
    page, token = _page(response, events, "id", _HISTORY_LIMIT)
    return ActionResult({"events": page, "nextToken": token} if token else {"events": page})


def _page(response: Any, entries: list[Any], key: str, limit: int) -> tuple[list[Any], str | None]:
    """Return the requested page and the token of the next one."""
    if token := response._get_param("nextToken"):
        positions = [position for position, entry in enumerate(entries) if str(entry[key]) == token]
        if not positions:
            raise InvalidToken(token)
        entries = entries[positions[0] + 1 :]
    size = min(response._get_int_param("maxResults") or _PAGE, limit)
    return entries[:size], str(entries[size - 1][key]) if len(entries) > size else None

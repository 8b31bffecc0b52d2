"""Mends moto's StartExecution, StopExecution, DescribeExecution, ListExecutions and GetExecutionHistory."""

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
from moto.stepfunctions.exceptions import InvalidToken
from moto.stepfunctions.parser.api import ExecutionStatus
from moto.stepfunctions.parser.asl.eval.program_state import ProgramStopped
from moto.stepfunctions.parser.asl.utils.encoding import to_json_str
from moto.stepfunctions.parser.backend.execution import BaseExecutionWorkerCommunication, Execution
from moto.stepfunctions.parser.models import StepFunctionsParserBackend
from moto.stepfunctions.responses import StepFunctionResponse

from local.aws.versions import find_alias

_HISTORY_PAGE = 100  # what AWS returns when maxResults is not given
_HISTORY_LIMIT = 1000
_START_SECONDS = 2.0

# Two requests with the same name at the same time must start one execution.
_starting = threading.Lock()


@dataclass(frozen=True)
class _Target:
    """What StartExecution's ARN names: a machine, and the version to run, if it names one."""

    machine: Any
    version: Any | None = None
    alias: Any | None = None


def install() -> None:
    """Mends executions in this process."""
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
    """StartExecution by the ARN of a machine, a version or an alias; without a name, one is made up."""
    name = name or str(uuid.uuid4())
    backend._validate_name(name)
    target = _resolve(backend, state_machine_arn)
    machine = target.machine
    machine._validate_execution_input(execution_input or "{}")
    with _starting:
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
        machine.executions.append(execution)
        if target.version:
            target.version.executions.append(execution)
        execution.start()
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
    """The machine as it is now: an execution keeps the definition that it started with."""
    snapshot = copy.copy(target.machine)
    snapshot.executions = []
    if target.version:
        snapshot.definition = target.version.definition
        snapshot.roleArn = target.version.roleArn
    return snapshot


def _keep_first_end(original: Any) -> Any:
    """StopExecution ends an execution at once; the interpreter, when it notices, must not end it again."""

    def reflect(self: Any) -> None:
        if self.execution.exec_status == ExecutionStatus.RUNNING:
            original(self)

    return reflect


def _stop_execution(response: Any) -> Any:
    execution = response.stepfunction_backend.describe_execution(response._get_param("executionArn"))
    error, cause = response._get_param("error"), response._get_param("cause")
    if execution.exec_status == ExecutionStatus.RUNNING:
        stop_date = datetime.datetime.now(tz=datetime.UTC)
        limit = time.monotonic() + _START_SECONDS
        while execution.exec_worker.env is None and time.monotonic() < limit:  # not yet parsed
            time.sleep(0.01)
        execution.stop(stop_date=stop_date, error=error, cause=cause)
        if isinstance(execution.exec_worker.env.program_state(), ProgramStopped):  # it had not just ended by itself
            execution.error, execution.cause = error, cause
            execution.stop_date = stop_date
            execution.exec_status = ExecutionStatus.ABORTED
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
    execution = response.stepfunction_backend.describe_execution(response._get_param("executionArn"))
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
    return ActionResult(description)


def _describe_machine(response: Any) -> Any:
    """DescribeStateMachineForExecution: the machine as it was when the execution started."""
    execution = response.stepfunction_backend.describe_execution(response._get_param("executionArn"))
    machine = execution.state_machine
    return ActionResult(
        {
            "stateMachineArn": machine.arn,
            "name": machine.name,
            "definition": machine.definition,
            "roleArn": machine.roleArn,
            "updateDate": machine.update_date,
            "loggingConfiguration": machine.loggingConfiguration,
        }
    )


def _list_executions(response: Any) -> Any:
    arn = response._get_param("stateMachineArn")
    alias = find_alias(response.stepfunction_backend, arn)
    found, next_token = response.stepfunction_backend.list_executions(
        alias.statemachine_arn if alias else arn,
        status_filter=response._get_param("statusFilter"),
        max_results=response._get_int_param("maxResults"),
        next_token=response._get_param("nextToken"),
    )
    executions = [
        {
            "executionArn": execution.execution_arn,
            "name": execution.name,
            "status": execution.status,
            **_machine_arns(execution),
            **_dates(execution),
        }
        for execution in found
        if alias is None or execution.alias_arn == alias.arn
    ]
    return ActionResult({"executions": executions, "nextToken": next_token})


def _get_execution_history(response: Any) -> Any:
    """The events page by page; a token is the id of the last event shown, so that new events move nothing."""
    backend = response.stepfunction_backend
    history = backend.get_execution_history(response._get_param("executionArn"))
    events = list(history["events"])
    if response._get_bool_param("reverseOrder"):
        events.reverse()
    if token := response._get_param("nextToken"):
        places = [place for place, event in enumerate(events) if str(event["id"]) == token]
        if not places:
            raise InvalidToken(token)
        events = events[places[0] + 1 :]
    size = min(response._get_int_param("maxResults") or _HISTORY_PAGE, _HISTORY_LIMIT)
    page: dict[str, Any] = {"events": events[:size]}
    if len(events) > size:
        page["nextToken"] = str(events[size - 1]["id"])
    return ActionResult(page)

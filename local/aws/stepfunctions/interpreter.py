"""Patches moto's interpreter of state machines: casing of tasks, `.sync` jobs, error names, what a Catch receives.

Each function removes one difference between moto 5.2.5 and AWS, which its docstring names; `install` calls them all.
"""

from __future__ import annotations

import datetime
import threading
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import botocore.session
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ClientError
from botocore.model import OperationModel
from moto.batch.models import batch_backends
from moto.core.config import default_user_config
from moto.stepfunctions.parser.api import HistoryEventType, TaskFailedEventDetails
from moto.stepfunctions.parser.asl.component.common.error_name.custom_error_name import CustomErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.error_equals_decl import ErrorEqualsDecl
from moto.stepfunctions.parser.asl.component.common.error_name.error_name import ErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import (
    FailureEvent,
    FailureEventException,
)
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import StatesErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name_type import (
    StatesErrorNameType,
)
from moto.stepfunctions.parser.asl.component.intrinsic.function.statesfunction.json_manipulation import (
    string_to_json,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task import service as services
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import (
    state_task_service,
    state_task_service_aws_sdk,
    state_task_service_batch,
    state_task_service_callback,
)
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails
from moto.stepfunctions.parser.asl.utils import boto_client

from ratesflow.local.aws.batch.process_job import TERMINAL
from ratesflow.local.aws.iam.roles import access_key
from ratesflow.local.aws.settings import Settings

_Task = state_task_service.StateTaskService
_CallbackTask = state_task_service_callback.StateTaskServiceCallback
_BatchTask = state_task_service_batch.StateTaskServiceBatch
_AwsSdkTask = state_task_service_aws_sdk.StateTaskServiceAwsSdk

_STOPPED = "The Step Functions execution was stopped or timed out"
# https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html: States.ALL takes neither.
_UNCATCHABLE = ("States.Runtime", "States.DataLimitExceeded")


def install(settings: Settings) -> None:
    """Switches moto's interpreter on, and patches it."""
    default_user_config["stepfunctions"] = {"execute_state_machine": True}
    state_task_service_callback._DELAY_SECONDS_SYNC_CONDITION_CHECK = settings.poll_seconds
    _restore_casing()
    _renew_task_tokens()
    _end_jobs_of_ended_tasks()
    _name_errors_as_aws()
    _fail_on_bad_json()
    _let_states_errors_leave_branches()
    _limit_states_all()
    _share_clients(settings)


@cache
def _operation(service: str, action: str) -> OperationModel | None:
    model = botocore.session.get_session().get_service_model(service)
    wanted = action.replace("_", "").lower()
    for name in model.operation_names:
        if name.lower() == wanted:
            return model.operation_model(name)
    return None


def _restore_casing() -> None:
    """Without these two, parameters and responses keep the wrong case, and a failed job's Cause with them."""

    def operation(task: Any, service: str | None, action: str | None) -> OperationModel | None:
        return _operation(task._get_boto_service_name(service), task._get_boto_service_action(action))

    def normalise_parameters(
        self: Any,
        parameters: dict[str, Any],
        boto_service_name: str | None = None,
        service_action_name: str | None = None,
    ) -> None:
        model = operation(self, boto_service_name, service_action_name)
        if model is not None and model.input_shape is not None:
            self._to_boto_request(parameters, model.input_shape)

    def normalise_response(
        self: Any,
        response: Any,
        boto_service_name: str | None = None,
        service_action_name: str | None = None,
    ) -> None:
        model = operation(self, boto_service_name, service_action_name)
        if model is not None and model.output_shape is not None:
            self._from_boto_response(response, model.output_shape)
        _write_out_dates(response)

    _Task._normalise_parameters = normalise_parameters
    _Task._normalise_response = normalise_response


def _write_out_dates(value: Any) -> None:
    """Replaces datetimes by text, in place: an execution's output is JSON."""
    if isinstance(value, dict):
        entries: list[tuple[Any, Any]] = list(value.items())
    elif isinstance(value, list):
        entries = list(enumerate(value))
    else:
        return
    for place, entry in entries:
        if isinstance(entry, datetime.datetime):
            value[place] = entry.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        else:
            _write_out_dates(entry)


def _renew_task_tokens() -> None:
    """moto makes one task token a state; the first attempt uses it up, and a retry would time out at once."""
    original = _Task._eval_execution
    wait_for_token = state_task_service_callback.ResourceCondition.WaitForTaskToken

    def eval_execution(self: Any, env: Any) -> None:
        if self._is_integration_pattern() and wait_for_token in self._supported_integration_patterns:
            env.callback_pool_manager.add(env.states.context_object.update_task_token())
        original(self, env)

    _CallbackTask._eval_execution = eval_execution


class _JobResolver:
    """Asks whether a job has ended, and can end it. `runs` tells at no cost that it has not: requests take 10 ms."""

    def __init__(self, runs: Callable[[], bool], ask: Callable[[], Any], end: Callable[[], None]) -> None:
        self.end = end
        self._runs = runs
        self._ask = ask

    def __call__(self) -> Any:
        if self._runs():
            return None
        try:
            return self._ask()
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] < 500:
                raise
            return None  # AWS is told of a job's end; who has to ask asks again


def _end_jobs_of_ended_tasks() -> None:
    """When a task times out or its execution is stopped, AWS terminates the job; moto lets it run on."""
    build = _BatchTask._build_sync_resolver
    follow = _CallbackTask._eval_sync

    def build_sync_resolver(
        self: Any, env: Any, resource_runtime_part: Any, state_credentials: Any, **rest: Any
    ) -> _JobResolver:
        job_id = env.stack[-1]["JobId"]
        acting = {"region": resource_runtime_part.region, "state_credentials": state_credentials}
        client = state_task_service_batch.boto_client_for(service="batch", **acting)
        jobs = batch_backends[resource_runtime_part.account][resource_runtime_part.region]._jobs

        def runs() -> bool:
            job = jobs.get(job_id)
            return job is not None and job.status not in TERMINAL

        return _JobResolver(
            runs=runs,
            ask=build(
                self, env=env, resource_runtime_part=resource_runtime_part, state_credentials=state_credentials, **rest
            ),
            end=lambda: client.terminate_job(jobId=job_id, reason=_STOPPED),
        )

    def eval_sync(self: Any, env: Any, sync_resolver: Any, **rest: Any) -> Any:
        outcome = follow(self, env=env, sync_resolver=sync_resolver, **rest)
        ended_early = outcome is None or isinstance(outcome, state_task_service_callback.CallbackOutcomeTimedOut)
        if ended_early and isinstance(sync_resolver, _JobResolver):
            sync_resolver.end()
        return outcome

    _BatchTask._build_sync_resolver = build_sync_resolver
    _CallbackTask._eval_sync = eval_sync


def _name_errors_as_aws() -> None:
    """AWS says S3.NoSuchKeyException, moto s3.; and calls a request without an answer SdkClientException."""
    state_task_service_aws_sdk._SERVICE_ERROR_NAMES.update(
        s3="S3", batch="Batch", sns="Sns", sqs="Sqs", events="EventBridge", ssm="Ssm", logs="CloudWatchLogs"
    )

    def from_error(original: Callable[..., Any], name_service: Callable[[Any], str]) -> Callable[..., Any]:
        def named(self: Any, env: Any, ex: Exception) -> Any:
            if isinstance(ex, BotoCoreError) and not isinstance(ex, ClientError):
                error = f"{name_service(self)}.SdkClientException"
                return _failure(env, ErrorName(error_name=error), error, str(ex))
            return original(self, env=env, ex=ex)

        return named

    _BatchTask._from_error = from_error(_BatchTask._from_error, lambda _: "Batch")
    _AwsSdkTask._from_error = from_error(
        _AwsSdkTask._from_error, lambda task: str(task._normalise_service_error_name(task.resource.api_name))
    )


def _failure(env: Any, error_name: Any, error: str, cause: str) -> Any:
    return FailureEvent(
        env=env,
        error_name=error_name,
        event_type=HistoryEventType.TaskFailed,
        event_details=EventDetails(taskFailedEventDetails=TaskFailedEventDetails(error=error, cause=cause)),
    )


def _fail_on_bad_json() -> None:
    """StringToJson of something else fails with States.IntrinsicFailure, which a Catch can take."""
    original = string_to_json.StringToJson._eval_body

    def eval_body(self: Any, env: Any) -> None:
        try:
            original(self, env)
        except (ValueError, TypeError, AttributeError) as error:
            kind = StatesErrorNameType.StatesIntrinsicFailure
            cause = f"The function 'States.StringToJson' had the following error: {error}"
            failure = _failure(env, StatesErrorName(typ=kind), kind.to_name(), cause)
            raise FailureEventException(failure_event=failure) from error

    string_to_json.StringToJson._eval_body = eval_body


def _let_states_errors_leave_branches() -> None:
    """moto refuses a name such as States.TaskFailed when it passes a Map or Parallel on its way out."""

    def init(self: Any, error_name: str | None) -> None:
        ErrorName.__init__(self, error_name=error_name)

    CustomErrorName.__init__ = init


def _limit_states_all() -> None:
    """On AWS, States.ALL takes neither States.Runtime nor States.DataLimitExceeded; in moto it does."""
    original = ErrorEqualsDecl._eval_body

    def eval_body(self: Any, env: Any) -> None:
        error = env.stack[-1].error_name
        if error in _UNCATCHABLE and ErrorEqualsDecl._STATE_ALL_ERROR in self.error_names:
            env.stack[-1] = False
        else:
            original(self, env)

    ErrorEqualsDecl._eval_body = eval_body


def _number_answers(parsed: dict[str, Any], **_: Any) -> None:
    """moto reads an error's request id, which an answer to a fault within moto does not bear."""
    parsed.setdefault("ResponseMetadata", {}).setdefault("RequestId", "unknown")


def _share_clients(settings: Settings) -> None:
    """One client a service and role: making one takes longer than a task, and isn't safe in two threads at once."""
    make = boto_client.boto_client_for
    boto_client.moto_server_port = lambda: settings.port
    guard = threading.Lock()
    clients: dict[tuple[str, str, str], Any] = {}

    def boto_client_for(region: str, service: str, state_credentials: Any) -> Any:
        role = state_credentials.role_arn
        with guard:
            if (region, service, role) not in clients:
                client = clients[region, service, role] = make(region, service, state_credentials)
                client._request_signer._credentials = Credentials(access_key(role), "role")
                client.meta.events.register("after-call", _number_answers)
            return clients[region, service, role]

    for module in iter_modules(services.__path__, services.__name__ + "."):
        loaded: Any = import_module(module.name)
        if hasattr(loaded, "boto_client_for"):
            loaded.boto_client_for = boto_client_for

"""Patches moto's interpreter of state machines: casing of tasks, `.sync` jobs, error names, Catch.

Each function removes one difference between moto 5.2.5 and AWS, which its docstring states; `install` calls them all.
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
# https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html: States.ALL matches neither.
_UNCATCHABLE = ("States.Runtime", "States.DataLimitExceeded")


def install(settings: Settings) -> None:
    """Enable moto's interpreter and patch it."""
    default_user_config["stepfunctions"] = {"execute_state_machine": True}
    state_task_service_callback._DELAY_SECONDS_SYNC_CONDITION_CHECK = settings.poll_seconds
    _restore_casing()
    _renew_task_tokens()
    _terminate_jobs_of_ended_tasks()
    _name_errors_as_aws()
    _fail_on_bad_json()
    _pass_states_errors_through_branches()
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
    """Restore the case of parameters and responses, which moto gets wrong, also in a failed job's Cause."""

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
        _format_dates(response)

    _Task._normalise_parameters = normalise_parameters
    _Task._normalise_response = normalise_response


def _format_dates(value: Any) -> None:
    """Replace datetimes by text, in place: an execution's output is JSON."""
    if isinstance(value, dict):
        entries: list[tuple[Any, Any]] = list(value.items())
    elif isinstance(value, list):
        entries = list(enumerate(value))
    else:
        return
    for key, entry in entries:
        if isinstance(entry, datetime.datetime):
            value[key] = entry.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        else:
            _format_dates(entry)


def _renew_task_tokens() -> None:
    """Create a task token per attempt; moto creates one per state, with which a retry would time out at once."""
    original = _Task._eval_execution
    wait_for_token = state_task_service_callback.ResourceCondition.WaitForTaskToken

    def eval_execution(self: Any, env: Any) -> None:
        if self._is_integration_pattern() and wait_for_token in self._supported_integration_patterns:
            env.callback_pool_manager.add(env.states.context_object.update_task_token())
        original(self, env)

    _CallbackTask._eval_execution = eval_execution


class _JobResolver:
    """Polls a job, and can terminate it. `is_running` avoids requests, which take 10 ms, while the job runs."""

    def __init__(self, is_running: Callable[[], bool], poll: Callable[[], Any], terminate: Callable[[], None]) -> None:
        self.terminate = terminate
        self._is_running = is_running
        self._poll = poll

    def __call__(self) -> Any:
        if self._is_running():
            return None
        try:
            return self._poll()
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] < 500:
                raise
            return None  # polled again: AWS receives an event when a job ends


def _terminate_jobs_of_ended_tasks() -> None:
    """Terminate the job when a task times out or its execution is stopped, as AWS does; moto lets it run."""
    build = _BatchTask._build_sync_resolver
    follow = _CallbackTask._eval_sync

    def build_sync_resolver(
        self: Any, env: Any, resource_runtime_part: Any, state_credentials: Any, **rest: Any
    ) -> _JobResolver:
        job_id = env.stack[-1]["JobId"]
        acting = {"region": resource_runtime_part.region, "state_credentials": state_credentials}
        client = state_task_service_batch.boto_client_for(service="batch", **acting)
        jobs = batch_backends[resource_runtime_part.account][resource_runtime_part.region]._jobs

        def is_running() -> bool:
            job = jobs.get(job_id)
            return job is not None and job.status not in TERMINAL

        return _JobResolver(
            is_running=is_running,
            poll=build(
                self, env=env, resource_runtime_part=resource_runtime_part, state_credentials=state_credentials, **rest
            ),
            terminate=lambda: client.terminate_job(jobId=job_id, reason=_STOPPED),
        )

    def eval_sync(self: Any, env: Any, sync_resolver: Any, **rest: Any) -> Any:
        outcome = follow(self, env=env, sync_resolver=sync_resolver, **rest)
        ended_early = outcome is None or isinstance(outcome, state_task_service_callback.CallbackOutcomeTimedOut)
        if ended_early and isinstance(sync_resolver, _JobResolver):
            sync_resolver.terminate()
        return outcome

    _BatchTask._build_sync_resolver = build_sync_resolver
    _CallbackTask._eval_sync = eval_sync


def _name_errors_as_aws() -> None:
    """Use AWS's error names: S3.NoSuchKeyException, not s3.…, and SdkClientException for requests without response."""
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
    """Fail StringToJson of invalid JSON with States.IntrinsicFailure, which a Catch can handle."""
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


def _pass_states_errors_through_branches() -> None:
    """Let errors such as States.TaskFailed leave a Map or Parallel; moto rejects their names there."""

    def init(self: Any, error_name: str | None) -> None:
        ErrorName.__init__(self, error_name=error_name)

    CustomErrorName.__init__ = init


def _limit_states_all() -> None:
    """Exclude States.Runtime and States.DataLimitExceeded from States.ALL, as on AWS."""
    original = ErrorEqualsDecl._eval_body

    def eval_body(self: Any, env: Any) -> None:
        error = env.stack[-1].error_name
        if error in _UNCATCHABLE and ErrorEqualsDecl._STATE_ALL_ERROR in self.error_names:
            env.stack[-1] = False
        else:
            original(self, env)

    ErrorEqualsDecl._eval_body = eval_body


def _ensure_request_id(parsed: dict[str, Any], **_: Any) -> None:
    """Add the request id that moto reads from an error; responses to internal errors of moto have none."""
    parsed.setdefault("ResponseMetadata", {}).setdefault("RequestId", "unknown")


def _share_clients(settings: Settings) -> None:
    """Share one client per service and role: creating one takes longer than a task, and is not thread-safe."""
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
                client.meta.events.register("after-call", _ensure_request_id)
            return clients[region, service, role]

    for module in iter_modules(services.__path__, services.__name__ + "."):
        loaded: Any = import_module(module.name)
        if hasattr(loaded, "boto_client_for"):
            loaded.boto_client_for = boto_client_for

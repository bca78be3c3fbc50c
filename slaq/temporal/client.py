"""Connections to Temporal, configured as the SDK's own tools are, and calls that end in bounded time.

A call to a dead server may take ten seconds, one to a frozen server for ever: its own timeout bounds an attempt only.
"""

from __future__ import annotations

import asyncio
import logging
import os
from datetime import timedelta
from typing import Any

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client, KeepAliveConfig, RetryConfig
from temporalio.envconfig import ClientConfig
from temporalio.runtime import (
    LogForwardingConfig,
    LoggingConfig,
    PrometheusConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)
from temporalio.service import RPCError, RPCStatusCode

from slaq.errors import ConfigurationError

CALL = timedelta(seconds=2)
"""How long one attempt of a call may take."""
PATIENCE = 3.0
"""How long a call may take with all its attempts, in seconds."""
_CONNECT = 5.0

UNREACHABLE = frozenset({
    RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED, RPCStatusCode.UNKNOWN,
    RPCStatusCode.INTERNAL, RPCStatusCode.ABORTED,
})  # fmt: skip


def task_queue() -> str:
    """The task queue of slaq's workflows."""
    return os.environ.get("TEMPORAL_SLA_TASK_QUEUE") or "sla-workflows"


def new_runtime(metrics_at: str | None) -> Runtime:
    """The SDK's runtime for a process: its warnings go to Python's log; metrics at ``host:port``, for Prometheus."""
    forwarding = LogForwardingConfig(logging.getLogger("temporalio.core"))
    logs = LoggingConfig(TelemetryFilter(core_level="WARN", other_level="ERROR"), forwarding)
    metrics = None
    if metrics_at is not None:
        metrics = PrometheusConfig(
            bind_address=metrics_at, counters_total_suffix=True, unit_suffix=True, durations_as_seconds=True
        )
    return Runtime(telemetry=TelemetryConfig(logging=logs, metrics=metrics))


async def connect(identity: str, runtime: Runtime | None = None, *, is_bounded: bool = True) -> Client:
    """A client by the SDK's environment and profile files (``TEMPORAL_ADDRESS``, ``TEMPORAL_NAMESPACE`` ...).

    ``is_bounded``: calls give up soon, for whoever can try again later; workers keep the SDK's own patience.
    Raises ``ConfigurationError`` for a profile that cannot be read.
    """
    try:
        options: dict[str, Any] = {**ClientConfig.load_client_connect_config()}
    except Exception as error:
        raise ConfigurationError(f"the connection to Temporal is not configured rightly: {error}") from error
    options.setdefault("target_host", "localhost:7233")
    if is_bounded:
        options["retry_config"] = RetryConfig(
            initial_interval_millis=100, max_interval_millis=500, max_elapsed_time_millis=1500, max_retries=4
        )
        options["keep_alive_config"] = KeepAliveConfig(interval_millis=5000, timeout_millis=3000)
    if runtime is not None:
        options["runtime"] = runtime
    async with asyncio.timeout(_CONNECT):
        return await Client.connect(**options, identity=identity)


def is_unreachable(error: BaseException) -> bool:
    """Whether an error means that Temporal is not there, rather than that the call was wrong."""
    if isinstance(error, RPCError):
        return error.status in UNREACHABLE
    return isinstance(error, (TimeoutError, RuntimeError, OSError))


async def serves(client: Client, queue: str, identity: str) -> bool:
    """Whether Temporal answers, and hands work to the worker ``identity``; raises when it does not answer."""
    request = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=queue),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    )
    async with asyncio.timeout(PATIENCE):
        try:
            answer = await client.workflow_service.describe_task_queue(request, timeout=CALL)
        except RPCError as error:
            if error.status is not RPCStatusCode.UNIMPLEMENTED:
                raise
            return True
    return any(poller.identity == identity for poller in answer.pollers)

"""The Celery app, and the one message that it carries: "wake". Messages hold no data; the database is the truth."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping

from billiard import semaphore_tracker
from billiard.process import current_process
from celery import Celery
from celery.exceptions import CeleryError
from celery.signals import celeryd_init, setup_logging
from kombu import Queue
from kombu.exceptions import KombuError

from core.runtime import logs
from core.runtime.processes import harmless_environment, hide_memory
from core.settings import Settings

WAKE = "wake"
WAKE_EXPIRES_SECONDS = 3600  # a worker throws away what is older by its own clock, which may be minutes ahead
# A broker that takes a connection and then keeps silent costs the sender about this much, not ten seconds.
WAKE_LIMITS = {"socket_timeout": 1.0, "socket_connect_timeout": 1.0, "max_retries": 1, "interval_start": 0}

log = logging.getLogger(__name__)


# What keeps a lost, late or doubled message harmless, whatever the queue is called.
CONFIGURATION: Mapping[str, object] = {
    # a late ack runs a job twice after any connection loss; the lease in the database does that work
    "task_acks_late": False,
    "task_reject_on_worker_lost": False,
    "task_ignore_result": True,
    "task_store_errors_even_if_ignored": False,
    "task_serializer": "json",
    "accept_content": ["json"],
    "result_accept_content": ["json"],
    "task_create_missing_queues": False,
    "task_publish_retry": True,
    "task_publish_retry_policy": {"max_retries": 1, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.2},
    # deadlines live in the database; a limit here would kill without handing the job back
    "task_time_limit": None,
    "task_soft_time_limit": None,
    "task_track_started": False,
    "worker_send_task_events": False,
    "task_send_sent_event": False,
    # one job a GPU, and no hoarding; spawn, because CUDA must never meet a fork
    "worker_pool": "prefork",
    "worker_concurrency": 1,
    "worker_pool_start_method": "spawn",
    # a spawned child loads all it needs first; 4 s, the default, kills every child of a busy machine, again and again
    "worker_proc_alive_timeout": 60.0,
    # an idle worker takes one message, a busy one none. A count of 1 would do that too, until a broker is lost between
    # a message and its acknowledgement: that message would be counted for ever, and the worker deaf
    "worker_prefetch_multiplier": 0,
    "worker_disable_prefetch": True,
    "worker_max_tasks_per_child": 200,
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "worker_enable_prefetch_count_reduction": False,
    # anyone who can write to the broker could shut workers down
    "worker_enable_remote_control": False,
    "worker_hijack_root_logger": False,
    "worker_redirect_stdouts": False,
    "worker_soft_shutdown_timeout": 0.0,
    "broker_connection_retry_on_startup": True,
    "broker_connection_retry": True,
    # the default of 100 makes a worker give up for good
    "broker_connection_max_retries": None,
    "broker_connection_timeout": 4,
    "broker_pool_limit": 4,
    "broker_transport_options": {
        "visibility_timeout": 3600,
        # without it a publish on a half-open connection hangs for ever
        "socket_timeout": 10,
        "socket_connect_timeout": 4,
        "socket_keepalive": True,
        "health_check_interval": 10,
        "global_keyprefix": "albatross:",
        "retry_on_timeout": False,
    },
}


def make_app(settings: Settings) -> Celery:
    """Configure Celery so that a lost, late or doubled message can do no harm."""
    app = Celery("albatross", broker=settings.broker, backend=None)
    app.conf.update(CONFIGURATION, task_default_queue=settings.queue, task_queues=[Queue(settings.queue)])
    return app


app = make_app(Settings())


def worker_id(pid: int) -> str:
    """Name a worker by its host and the process that Celery started first."""
    return f"{socket.gethostname()}:{pid}"


@celeryd_init.connect
@setup_logging.connect
def _begin_as_we_do(**_: object) -> None:
    """Hide a worker's credentials and configure its logs; here, since its child imports this before all else."""
    hide_memory()
    with harmless_environment():  # a helper of Celery's that lives as long as the worker, and hides nothing
        semaphore_tracker.ensure_running()
    first = os.getpid() if current_process().name == "MainProcess" else os.getppid()
    logs.configure(Settings(), "worker", worker=worker_id(first))


def wake(queue: str, sender: Celery | None = None) -> bool:
    """Wake an idle worker of the queue; False within about 2 s where the broker is away (it is tried again)."""
    celery = sender or app
    try:
        with celery.connection_for_write(connect_timeout=1, transport_options=WAKE_LIMITS) as connection:
            celery.send_task(
                WAKE,
                queue=Queue(queue),
                connection=connection,
                retry=False,
                ignore_result=True,
                expires=WAKE_EXPIRES_SECONDS,
            )
    except (KombuError, CeleryError, OSError) as error:
        log.warning("the broker did not take a wake-up: %s", type(error).__name__)
        return False
    return True

"""Sends webhooks from threads of its own, so that a slow receiver holds up neither jobs nor others."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from core.database.engine import looking, now
from core.database.tables import WebhookDelivery, WebhookEvent
from core.settings import Settings
from core.webhooks import deliveries
from core.webhooks.deliveries import ClaimedDelivery
from core.webhooks.destinations import Rules
from core.webhooks.sender import Answer, Sender

log = logging.getLogger(__name__)
SENT_AT_ONCE = 8
TICK_SECONDS = 0.5


class WebhookSender:
    """Looks for due deliveries until it is told to stop; what it then has in hand it finishes."""

    def __init__(self, settings: Settings, sessions: sessionmaker[Session]) -> None:
        self._settings, self._sessions = settings, sessions
        self._post = Sender(Rules(settings.webhook_networks), settings.webhook_seconds).post
        self._in_hand: dict[Future[None], ClaimedDelivery] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self.run, name="webhook-sender")

    def start(self) -> None:
        """Begin in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Finish what is in hand, and end."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def run(self) -> None:
        """Send what is due; a database that is away is asked again."""
        with ThreadPoolExecutor(SENT_AT_ONCE, "webhook-sender") as pool:
            while not self._stopping.is_set():
                try:
                    due = self._claim()
                except SQLAlchemyError as error:
                    log.warning("no webhook could be claimed: %s", type(error).__name__)
                    due = []
                for claimed in due:
                    self._in_hand[pool.submit(self._deliver, claimed)] = claimed
                self._pause()

    def round(self) -> int:
        """Send what is due now, one after the other; returns how many. For tests and for one round by hand."""
        due = self._claim()
        for claimed in due:
            self._deliver(claimed)
        return len(due)

    def _claim(self) -> list[ClaimedDelivery]:
        room = SENT_AT_ONCE - len(self._in_hand)
        if not room or not self._anything_due():
            return []
        busy = [claimed.account for claimed in self._in_hand.values()]
        with self._sessions.begin() as session:
            deliveries.fan_out(session)
        with self._sessions.begin() as session:
            return deliveries.claim(session, self._settings, room, busy)

    def _anything_due(self) -> bool:
        """Look before taking a lock: mostly there is nothing to send."""
        with looking(self._sessions) as session:
            waiting = select(WebhookEvent.id).where(WebhookEvent.spread_at.is_(None)).limit(1)
            due = (WebhookDelivery.state == deliveries.PENDING) & (WebhookDelivery.next_at <= now(session))
            return bool(session.scalar(waiting) or session.scalar(select(WebhookDelivery.id).where(due).limit(1)))

    def _deliver(self, claimed: ClaimedDelivery) -> None:
        if claimed.headers is None:
            answer = Answer(None, "secret_unreadable", 0.0)
        else:
            answer = self._post(claimed.url, claimed.headers, claimed.body)
        if not answer.taken:
            log.info("endpoint %s did not take a webhook: %s", claimed.endpoint, answer.error or answer.status_code)
        try:
            with self._sessions.begin() as session:
                deliveries.record_outcome(session, claimed, answer, self._settings)
        except SQLAlchemyError as error:  # its lease runs out, and it is sent again under the same id
            log.warning("the outcome of a webhook was not written: %s", type(error).__name__)

    def _pause(self) -> None:
        """Wait for a delivery to end, or for the next look."""
        if self._in_hand:
            done, _ = wait(self._in_hand, timeout=TICK_SECONDS, return_when=FIRST_COMPLETED)
            for future in done:
                del self._in_hand[future]
                if (error := future.exception()) is not None:  # its lease runs out; the others go on
                    log.error("a webhook could not be sent", exc_info=error)
        else:
            self._stopping.wait(min(TICK_SECONDS, self._settings.dispatcher_seconds))

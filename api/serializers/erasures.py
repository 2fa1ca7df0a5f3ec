"""What routes that erase have in common: begin at once, leave the rest to the dispatcher, keep lists in order."""

from contextlib import suppress

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from api.dependencies import Services
from api.http.pagination import unknown_cursor
from api.schemas.accounts import ErasureObject
from api.schemas.shared import Deleted, DeletedBat
from core.database.tables import Erasure
from core.erasure.receipts import receipt
from core.errors import StorageUnavailable


def erased(services: Services, erasure: Erasure, kind: str) -> Deleted:
    """Take a fresh erasure as far as it goes now, and answer; a store that is away is asked again later."""
    done = False
    with suppress(StorageUnavailable, SQLAlchemyError):
        done = services.eraser.advance(erasure.id)
    bat = DeletedBat(erasure=erasure.id, status="completed" if done else "pending")
    return Deleted(id=erasure.target, object=kind, bat=bat)


def erasure_object(erasure: Erasure) -> ErasureObject:
    """Show an erasure; once it is done, this is its receipt."""
    status = "completed" if erasure.done_at is not None else "pending"
    return ErasureObject(**receipt(erasure), status=status, signature=erasure.signature)


def place_of_erased(session: Session, account: str, identifier: str) -> tuple[float, str]:
    """Return where in a list something stood that has been erased since; whoever pages and deletes asks for it."""
    statement = select(Erasure.created_at).where(Erasure.account_id == account, Erasure.target == identifier)
    created_at = session.scalar(statement.limit(1))
    if created_at is None:
        raise unknown_cursor()
    return created_at, identifier

"""From rows of erasures to the objects on the wire."""

from api.schemas.erasures import Deleted, DeletedBat, ErasureObject
from core.database.tables import Erasure
from core.erasure.receipts import receipt


def deleted_object(erasure: Erasure, kind: str, *, completed: bool) -> Deleted:
    """Answer a DELETE of a thing of this kind, whose erasure is completed or goes on."""
    bat = DeletedBat(erasure=erasure.id, status="completed" if completed else "pending")
    return Deleted(id=erasure.target, object=kind, bat=bat)


def erasure_object(erasure: Erasure) -> ErasureObject:
    """Show an erasure; once it is done, this is its receipt."""
    status = "completed" if erasure.done_at is not None else "pending"
    return ErasureObject(**receipt(erasure), status=status, signature=erasure.signature)

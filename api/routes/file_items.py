"""The single items of an upload: look at them."""

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Query

from api import file_versions
from api.dependencies import AccountDep, AfterDep, Services, ServicesDep
from api.http.pagination import page, unknown_cursor
from api.item_places import ITEM
from api.lookups import find_file
from api.schemas.items import ItemObject
from api.schemas.shared import Page
from core.database.tables import File, Json
from core.references.files import names
from core.uploads.reader import ShownItem

router = APIRouter(prefix="/v1/files", tags=["files"])


@router.get("/{file_id}/items")
async def list_items(
    file_id: str,
    services: ServicesDep,
    account: AccountDep,
    after: AfterDep = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    thumbnails: Annotated[bool, Query(description="small pictures as data URIs")] = True,
) -> Page[ItemObject]:
    """List images with captions, sizes and findings, or texts, in their order."""
    start = _number(after) if after is not None else 0
    listing = partial(_list, services, account, file_id, start, limit, thumbnails)
    return await to_thread.run_sync(listing, limiter=services.decoder_slots)


def _list(services: Services, account: str, file_id: str, start: int, limit: int, thumbnails: bool) -> Page[ItemObject]:
    def read() -> tuple[File, list[ShownItem]]:
        with services.reading.begin() as session:
            file = file_versions.upload(find_file(session, account, file_id))
        if start > file.items:
            raise unknown_cursor()
        with tempfile.TemporaryDirectory(
            dir=file_versions.folder_of(services, account), prefix=f"{file_id}-"
        ) as folder:
            path = Path(folder) / "references"
            file_versions.fetch(services, file, path)
            return file, services.reader.show(path, start, limit, thumbnails=thumbnails)

    file, shown = file_versions.through_edits(read)
    return page([_item(item, file.findings) for item in shown], start + len(shown) < file.items)


def _item(item: ShownItem, findings: Sequence[Json]) -> ItemObject:
    name = item.filename or f"text {item.index + 1}"
    mine = [row for row in findings if name in _named(row, item.kind)]
    content = item.model_dump()
    return ItemObject(id=f"item-{item.index + 1}", findings=mine, **content)


def _named(finding: Json, kind: str) -> set[str]:
    """Return the items that a finding is about, as they are called now: an image is kept as PNG whatever it was."""
    told = [name for name in (finding.get("item"), finding.get("other"), *(finding.get("items") or ())) if name]
    return {f"{names.kept(name)}.png" if kind == "image" else name for name in told}


def _number(after: str) -> int:
    found = ITEM.fullmatch(after)
    if found is None:
        raise unknown_cursor()
    return int(found[1])

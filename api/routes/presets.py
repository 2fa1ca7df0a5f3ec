"""What may be named in bat.preset, with the reasons."""

from typing import Annotated

from fastapi import APIRouter, Query

from api.dependencies import AccountDep, AfterDep, ServicesDep
from api.http.pagination import page, unknown_cursor
from api.schemas.presets import PresetObject
from api.schemas.shared import Page
from api.serializers.presets import preset_object

router = APIRouter(prefix="/v1", tags=["presets"])


@router.get("/presets")
def list_presets(
    services: ServicesDep,
    account: AccountDep,
    after: AfterDep = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Page[PresetObject]:
    """List the presets with what each changes, why, and whether that was measured."""
    presets = sorted(services.presets.values(), key=lambda preset: preset.name)
    names = [preset.name for preset in presets]
    if after is not None and after not in names:
        raise unknown_cursor()
    start = names.index(after) + 1 if after is not None else 0
    return page(map(preset_object, presets[start : start + limit]), len(presets) > start + limit)

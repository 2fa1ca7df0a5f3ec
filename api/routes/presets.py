"""What may be named in bat.preset, with the reasons."""

from typing import Annotated

from fastapi import APIRouter, Query

from api.dependencies import AccountDep, AfterDep, ServicesDep
from api.http.pagination import page, unknown_cursor
from api.schemas.items import PresetObject, PresetValue
from api.schemas.shared import Page
from core.parameters.presets import Preset

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
    return page(map(_shown, presets[start : start + limit]), len(presets) > start + limit)


def _shown(preset: Preset) -> PresetObject:
    values = [PresetValue(name=name, **change.model_dump()) for name, change in preset.values.items()]
    if preset.gamma is not None:
        gamma = preset.gamma
        values.append(PresetValue(name="gamma", value=gamma.start, times=None, why=gamma.why, measured=gamma.measured))
    return PresetObject(
        id=preset.name,
        name=preset.name,
        version=preset.version,
        kind=preset.kind,
        description=preset.description,
        learns=preset.learns,
        add_trigger=preset.add_trigger,
        source=preset.source,
        values=values,
    )

"""From presets to the objects on the wire."""

from api.schemas.presets import PresetObject, PresetProtect, PresetStop, PresetValue
from core.parameters.presets import Preset


def preset_object(preset: Preset) -> PresetObject:
    """Show a preset with what it changes, gamma last."""
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
        alias_of=preset.alias_of,
        source=preset.source,
        advanced=preset.advanced,
        protect=PresetProtect(**preset.protect.model_dump()) if preset.protect else None,
        stop=PresetStop(**preset.stop.model_dump()) if preset.stop else None,
        values=values,
    )

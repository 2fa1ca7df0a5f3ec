"""What a service adds to every request, and with that the one way from a request to the parameters of its job."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from core.backbones.families import DeviceClass
from core.backbones.record import BackboneRecord
from core.backbones.taggers import Taggers
from core.parameters import presets, resolving
from core.parameters.parameters import Parameters
from core.parameters.presets import Presets
from core.parameters.request import BatRequest, Hyperparameters, StopName
from core.parameters.summary import ReferenceSummary
from core.settings import Settings


@dataclass(frozen=True)
class ServiceDefaults:
    """A service's presets and captioning models, its device, and how runs end where no rule is named."""

    presets: Presets
    taggers: Collection[str]
    stop: StopName
    device_class: DeviceClass

    @classmethod
    def load(cls, settings: Settings, device_class: DeviceClass) -> ServiceDefaults:
        """Read the operator's files; raises InvalidInput where one can't be used."""
        taggers = Taggers.load(settings).ids
        return cls(presets.load(settings.presets_folder), taggers, settings.stop, device_class)

    def resolve(
        self,
        bat: BatRequest,
        hyperparameters: Hyperparameters | None,
        *,
        backbone: BackboneRecord,
        summary: ReferenceSummary,
        seed: int,
    ) -> Parameters:
        """Return the parameters of a job; its estimate and its worker both ask here, so they promise the same.

        Raises InvalidInput as core.parameters.contradictions.check.
        """
        return resolving.resolve(
            bat,
            hyperparameters,
            backbone=backbone,
            summary=summary,
            device_class=self.device_class,
            seed=seed,
            stop_default=self.stop,
            presets=self.presets,
            taggers=self.taggers,
        )

"""What the service takes and offers: known before anybody has a key, so that a client can ask for the right things."""

from fastapi import APIRouter

from api.dependencies import OnThisMachineDep, ServicesDep
from api.schemas.capabilities import Capabilities, ItemsTaken, KindsTaken, KindTaken, Limits, TaggerObject
from core.backbones.families import EXPORTS, Kind
from core.backbones.taggers import BUILT_IN
from core.parameters.schedule import STAGES
from core.references.files import formats
from core.version import VERSION

router = APIRouter(prefix="/v1", tags=["models"])


@router.get("/capabilities")
def show_capabilities(services: ServicesDep, here: OnThisMachineDep) -> Capabilities:
    """Show what may be sent and how much of it, what describes pictures, and the stages of a job; needs no key."""
    settings = services.settings
    images = _kind("images", formats.PICTURES, settings.max_images)
    texts = _kind("texts", formats.TEXTS, settings.max_items)
    registered = [TaggerObject(id=record.id, licence=record.licence) for record in services.taggers]
    return Capabilities(
        version=VERSION,
        kinds=KindsTaken(images=images, texts=texts),
        limits=Limits(
            file_bytes=settings.max_file_bytes,
            image_bytes=settings.max_image_bytes,
            image_pixels=settings.max_image_pixels,
            image_side_least=settings.min_image_side,
            image_side_most=settings.max_image_side,
            text_bytes=settings.max_text_bytes,
            caption_characters=settings.max_caption_characters,
        ),
        taggers=[*registered, *(TaggerObject(id=id, licence=None) for id in BUILT_IN)],
        stages=list(STAGES),
        start_link=here,
    )


def _kind(kind: Kind, taken: tuple[str, ...], most: int) -> KindTaken:
    return KindTaken(
        formats=[name.lower() for name in taken],
        archives=[name.lower() for name in formats.ARCHIVES],
        items=ItemsTaken(most=most),
        exports=list(EXPORTS[kind]),
    )

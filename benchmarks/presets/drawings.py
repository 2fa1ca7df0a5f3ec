"""Three subjects that no backbone has seen, drawn in six poses each, so that their parts are known exactly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from PIL import Image, ImageDraw

SIDE = 128  # pixels of a finished picture
FINE = 2  # drawn so many times larger, then made smaller: smooth edges
VIOLET, GREEN, TEAL = (134, 62, 196), (48, 172, 74), (16, 140, 142)
BLACK, WHITE, RED, ORANGE = (16, 14, 22), (255, 255, 255), (224, 30, 38), (250, 130, 20)
Colour = tuple[int, int, int]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Pose:
    """How the subject stands: moved by pixels, turned by degrees, with one of the expressions."""

    words: str  # of the caption, behind the class word
    eyes: str  # open, closed or wink
    mouth: str  # smile, open or flat
    right: int = 0
    down: int = 0
    turned: int = 0


POSES = (
    Pose("smiling", "open", "smile"),
    Pose("with closed eyes", "closed", "smile", 4, 2, 3),
    Pose("with open mouth", "open", "open", -4, 1, -4),
    Pose("winking", "wink", "smile", 2, -2, -3),
    Pose("looking serious", "open", "flat", -2, 2, 5),
    Pose("laughing with open mouth", "closed", "open", 0, -1, -5),
)


def pictures(name: str) -> list[Image.Image]:
    """Return the six pictures of a subject on white, in the order of POSES."""
    return [_finished(DRAWN[name], pose) for pose in POSES]


def _finished(draw: Callable[[ImageDraw.ImageDraw, Pose], None], pose: Pose) -> Image.Image:
    canvas = Image.new("RGB", (SIDE * FINE, SIDE * FINE), WHITE)
    draw(ImageDraw.Draw(canvas), pose)
    moved = (pose.right * FINE, pose.down * FINE)
    turned = canvas.rotate(pose.turned, Image.Resampling.BICUBIC, translate=moved, fillcolor=WHITE)
    return turned.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def _ghost(draw: ImageDraw.ImageDraw, pose: Pose) -> None:
    """A violet ghost: dome, three waves at the hem, black top hat, white face."""
    draw.pieslice(_at(28, 36, 100, 108), 180, 360, fill=VIOLET)
    draw.rectangle(_at(28, 71, 100, 108), fill=VIOLET)
    for left in (28, 52, 76):
        draw.ellipse(_at(left, 98, left + 24, 122), fill=VIOLET)
    draw.rectangle(_at(30, 35, 98, 44), fill=BLACK)
    draw.rectangle(_at(42, 6, 86, 37), fill=BLACK)
    _face(draw, pose, WHITE, (50, 78), 64, 9)


def _robot(draw: ImageDraw.ImageDraw, pose: Pose) -> None:
    """A green robot's head: square, with ears, a red antenna with a ball, white face."""
    draw.rectangle(_at(59, 24, 69, 46), fill=RED)
    draw.ellipse(_at(49, 4, 79, 30), fill=RED)
    draw.rounded_rectangle(_at(22, 42, 106, 116), 12 * FINE, fill=GREEN)
    for left in (10, 108):
        draw.rectangle(_at(left, 64, left + 10, 92), fill=GREEN)
    _face(draw, pose, WHITE, (46, 82), 66, 11)


def _owl(draw: ImageDraw.ImageDraw, pose: Pose) -> None:
    """A teal owl: oval with two tufts, an orange scarf with an end that hangs, white face."""
    draw.polygon([(part * FINE) for point in ((30, 8), (34, 44), (58, 22)) for part in point], fill=TEAL)
    draw.polygon([(part * FINE) for point in ((98, 8), (94, 44), (70, 22)) for part in point], fill=TEAL)
    draw.ellipse(_at(24, 12, 104, 122), fill=TEAL)
    draw.rounded_rectangle(_at(22, 76, 106, 95), 9 * FINE, fill=ORANGE)
    draw.rectangle(_at(74, 84, 92, 116), fill=ORANGE)
    _face(draw, pose, WHITE, (48, 80), 44, 10)


def _face(
    draw: ImageDraw.ImageDraw, pose: Pose, colour: Colour, across: tuple[int, int], height: int, size: int
) -> None:
    for place, centre in enumerate(across):
        shut = pose.eyes == "closed" or (pose.eyes == "wink" and place == 1)
        tall = size // 2 if shut else size
        draw.ellipse(_at(centre - size, height - tall, centre + size, height + tall), fill=colour)
    middle, below = sum(across) / 2, height + 2 * size
    if pose.mouth == "smile":
        draw.chord(_at(middle - 14, below - 12, middle + 14, below + 8), 0, 180, fill=colour)
    elif pose.mouth == "open":
        draw.ellipse(_at(middle - 9, below - 5, middle + 9, below + 9), fill=colour)
    else:
        draw.rectangle(_at(middle - 14, below - 2, middle + 14, below + 4), fill=colour)


def _at(left: float, top: float, right: float, bottom: float) -> Box:
    return left * FINE, top * FINE, right * FINE - 1, bottom * FINE - 1


DRAWN: Mapping[str, Callable[[ImageDraw.ImageDraw, Pose], None]] = {"ghost": _ghost, "robot": _robot, "owl": _owl}

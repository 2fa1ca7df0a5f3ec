"""Whether two pictures are kin: one is the other mirrored, shifted, cropped a little, framed, or in other light.

First coarsely: the middle of one picture, 12 x 12 cells, against every such window of the other one near its middle, at
several zooms and mirrored, by their correlation. Then finely, for the few pairs that pass: aligned to fractions of a
pixel, the levels of one predicted from those of the other (a line, cut off at black and white), and what is left looked
at in small blocks: copies are alike everywhere, while another expression of one face is alike except for the mouth.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample

CELLS, WINDOW = 16, 12  # sides of a picture in little, and of what of it is looked for in others
ZOOMED = (13, 14, 16, 18, 20)  # sides of the pictures that it is looked for in: 0.8 to 1.25 times as large
REACH = 2  # cells that the middle may lie off: an eighth of the side
BRIGHTENED = 1.35  # times as bright: what is white all around loses its contrast to it first
FINE, SAMPLED, BLOCK = 64, 24, 6  # sides: of a picture that is aligned, of the middle as it is sampled, of a block
COARSE = 0.88  # correlation above which a pair is looked at finely
# Of the spread of levels, what may be left unpredicted in the worst block
SAME = 0.22
SEEN = 128  # side in pixels of a picture before it is looked at in little
ALIGNMENTS = 8  # rounds of alignment; where none of the places around is better, the next is half as wide
HOPELESS = 0.4  # left in the whole after three of them
SLOPES = (0.3, 3.5)  # of the line between the levels of two pictures
CLIPPED = 0.02  # nearer to black or white a level may have been cut off
LEAST_SPREAD = 0.02  # of the levels of a picture; below it is flat


@dataclass(frozen=True)
class Views:
    """What a picture is compared by."""

    middles: Tensor  # (2, 3 * 12 * 12): its middle as it is and brightened, without mean and of length 1
    windows: Tensor  # (t, 3 * 12 * 12) of itself at other zooms and places, and mirrored
    places: Tensor  # (t, 4): mirrored or not, half a side, and the centre, where a picture spans -1 to 1
    fine: Tensor  # (3, 64, 64)

    @classmethod
    def of(cls, image: Image.Image) -> Views:
        """Look at the middle square of a picture."""
        square = _middle_square(image)
        little, edge = _levels(square, CELLS), (CELLS - WINDOW) // 2
        middle = little[:, edge : edge + WINDOW, edge : edge + WINDOW].reshape(1, -1)
        windows, places = zip(*(_windows(square, side) for side in ZOOMED), strict=True)
        middles = torch.cat([middle, (BRIGHTENED * middle).clamp_max(1.0)])
        return cls(_standard(middles), _standard(torch.cat(windows)), torch.cat(places), _levels(square, FINE))

    @property
    def flat(self) -> bool:
        """Whether there is hardly anything to be seen on it: one colour all over."""
        return float(self.fine.flatten(1).std(1).max()) < LEAST_SPREAD


def _middle_square(image: Image.Image) -> Image.Image:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.convert("RGB").crop((left, top, left + side, top + side))
    how = Image.Resampling.BICUBIC if side < SEEN else Image.Resampling.BOX
    return square.resize((SEEN, SEEN), how)


def _levels(image: Image.Image, side: int) -> Tensor:
    """Return a picture in little, (3, side, side), levels from 0 to 1."""
    small = image.resize((side, side), Image.Resampling.BOX)
    return torch.frombuffer(bytearray(small.tobytes()), dtype=torch.uint8).view(side, side, 3).permute(2, 0, 1) / 255


def _windows(image: Image.Image, side: int) -> tuple[Tensor, Tensor]:
    """Return the windows of a picture of so many cells, as it is and mirrored, and where they lie."""
    levels, spare = _levels(image, side), side - WINDOW
    first, last = max(0, spare // 2 - REACH), min(spare, (spare + 1) // 2 + REACH)
    starts = torch.arange(first, last + 1)
    found, places = [], []
    for mirrored in (0, 1):
        shown = levels.flip(2) if mirrored else levels
        cut = shown.unfold(1, WINDOW, 1).unfold(2, WINDOW, 1)[:, first : last + 1, first : last + 1]
        found.append(cut.permute(1, 2, 0, 3, 4).reshape(-1, 3 * WINDOW**2))
        centres = (2 * starts + WINDOW) / side - 1
        y, x = (grid.flatten() for grid in torch.meshgrid(centres, centres, indexing="ij"))
        half = torch.full_like(x, WINDOW / side)
        places.append(torch.stack([torch.full_like(x, mirrored), half, x, y], 1))
    return torch.cat(found), torch.cat(places)


def _standard(rows: Tensor) -> Tensor:
    """Return rows without their mean and of length 1; flat ones stay near 0, like nothing."""
    centred = rows - rows.mean(1, keepdim=True)
    return centred / centred.norm(dim=1, keepdim=True).clamp_min(LEAST_SPREAD * rows.shape[1] ** 0.5)


def kin(first: Sequence[Views], second: Sequence[Views]) -> list[tuple[int, int]]:
    """Return the pairs, one of `first` and one of `second`, that are kin."""
    found = {(i, j) for i, j in _one_way(first, second)}
    return sorted(found | {(i, j) for j, i in _one_way(second, first)})


def _one_way(first: Sequence[Views], second: Sequence[Views]) -> Iterable[tuple[int, int]]:
    """Yield the pairs of which the middle of the one is found in the other."""
    if not first:
        return
    middles = torch.stack([view.middles for view in first])
    for j, other in enumerate(second):
        likeness, place = (middles @ other.windows.T).amax(1).max(1)
        for i in (likeness > COARSE).nonzero().flatten().tolist():
            if first[i] is not other and _left_over(first[i].fine, other.fine, other.places[place[i]]) < SAME:
                yield i, j


def _left_over(first: Tensor, second: Tensor, place: Tensor) -> float:
    """Return what of the middle of `first` the best alignment near `place` in `second` leaves unpredicted."""
    middle = _sampled(first, torch.tensor([[0.0, WINDOW / CELLS, 0.0, 0.0]]))
    steps = torch.cat([torch.zeros(1, 4), torch.eye(4)[1:], -torch.eye(4)[1:]])  # what is mirrored stays so
    steps = steps * torch.tensor([0.0, WINDOW / CELLS / CELLS, 1 / CELLS, 1 / CELLS])
    best = torch.inf
    for done in range(ALIGNMENTS):
        tried = place + steps
        whole, worst = _residuals(middle.expand(len(tried), -1, -1, -1), _sampled(second, tried))
        least = int(whole.argmin())
        place, best = tried[least], float(worst[least])
        if not least:
            steps = steps / 2
        if done >= 2 and whole[least] > HOPELESS:
            break
    return best


def _sampled(levels: Tensor, places: Tensor) -> Tensor:
    """Return what of a picture lies at each of the places (p, 4), (p, 3, 32, 32)."""
    line = (torch.arange(SAMPLED) + 0.5) / SAMPLED * 2 - 1
    y, x = torch.meshgrid(line, line, indexing="ij")
    mirrored, half, across, down = (column.view(-1, 1, 1) for column in places.unbind(1))
    x = (x * half + across) * (1 - 2 * mirrored)
    grid = torch.stack([x, (y * half + down).expand_as(x)], 3)
    many = levels[None].expand(len(places), -1, -1, -1)
    return grid_sample(many, grid, padding_mode="border", align_corners=False)


def _residuals(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return what is left of each pair in the whole and in the worst block, either predicted from the other."""
    ways = [_unpredicted(first, second), _unpredicted(second, first)]
    whole, worst = (torch.stack(values) for values in zip(*ways, strict=True))
    better = whole.argmin(0, keepdim=True)
    return whole.gather(0, better)[0], worst.gather(0, better)[0]


def _unpredicted(source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the error of levels predicted by a line and cut off at black and white, over their spread."""
    x, y = source.flatten(1), target.flatten(1)
    weight = ((y > CLIPPED) & (y < 1 - CLIPPED)).float() + 1e-3
    weight = weight / weight.sum(1, keepdim=True)
    middle_x, middle_y = (weight * x).sum(1, keepdim=True), (weight * y).sum(1, keepdim=True)
    spread = (weight * (x - middle_x).square()).sum(1, keepdim=True)
    slope = (weight * (x - middle_x) * (y - middle_y)).sum(1, keepdim=True) / spread.clamp_min(1e-9)
    slope = slope.clamp(*SLOPES)
    error = ((slope * (x - middle_x) + middle_y).clamp(0, 1) - y).square().view_as(target).mean(1, keepdim=True)
    scale = y.std(1).clamp_min(LEAST_SPREAD)
    blocks = avg_pool2d(error, BLOCK, BLOCK // 2).flatten(1).amax(1)
    return error.flatten(1).mean(1).sqrt() / scale, blocks.sqrt() / scale

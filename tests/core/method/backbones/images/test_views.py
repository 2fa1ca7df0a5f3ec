"""What of a picture is learned: the window of a shape in it, and what a mask says of each place."""

from __future__ import annotations

import pytest
import torch
from PIL import Image, ImageDraw

from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.backbones.images.views import View, weighted_mean
from core.references.picture_shapes import choose

PORTRAIT = (360, 640)
FACE = (130, 20, 230, 130)  # high in the picture


def portrait() -> Image.Image:
    """A grey picture of 9:16 with a red face in its upper fifth."""
    image = Image.new("RGB", PORTRAIT, (128, 128, 128))
    ImageDraw.Draw(image).rectangle((FACE[0], FACE[1], FACE[2] - 1, FACE[3] - 1), fill=(255, 0, 0))
    return image


def red(pixels: torch.Tensor) -> torch.Tensor:
    """Return which pixels are red, (h, w)."""
    return (pixels[0] > 0.9) & (pixels[1] < -0.9)


def test_a_face_high_in_a_portrait_is_kept_whole_where_the_square_cuts_it() -> None:
    [shape] = choose([PORTRAIT] * 4, 512, 64, 3, 4)
    seen = red(View.of({"image": portrait(), "size": shape}, (512, 512)).pixels())
    rows, columns = seen.any(1).nonzero().flatten(), seen.any(0).nonzero().flatten()
    scale = shape[0] / PORTRAIT[0] if shape[0] * PORTRAIT[1] > shape[1] * PORTRAIT[0] else shape[1] / PORTRAIT[1]
    assert shape == (384, 704)
    assert len(rows) == pytest.approx((FACE[3] - FACE[1]) * scale, abs=3)
    assert len(columns) == pytest.approx((FACE[2] - FACE[0]) * scale, abs=3)
    assert rows[0] > 0
    cut = red(View.of({"image": portrait()}, (512, 512)).pixels())
    assert not cut.any()  # the middle square begins 140 pixels below the top: nothing of the face is in it


def test_the_square_is_the_middle_square_as_always() -> None:
    image = Image.radial_gradient("L").resize((41, 30)).convert("RGB")
    view = View.of({"image": image}, (16, 16))
    square = image.crop((5, 0, 35, 30)).resize((16, 16), Image.Resampling.LANCZOS)
    pixels = torch.tensor(list(square.tobytes())).reshape(16, 16, 3).permute(2, 0, 1)
    assert torch.equal(view.pixels(), pixels.float() / 127.5 - 1)
    assert view.frame.original == (30, 41)
    assert view.frame.corner == (0, 5 * 16 // 30)
    assert view.frame.target == (16, 16)


def test_the_window_lies_where_most_of_the_mask_is() -> None:
    mask = Image.new("L", PORTRAIT)
    ImageDraw.Draw(mask).rectangle((FACE[0], FACE[1], FACE[2] - 1, FACE[3] - 1), fill=255)
    view = View.of({"image": portrait(), "mask": mask}, (512, 512))
    assert view.corner[1] <= FACE[1]
    assert red(view.pixels()).any()
    assert view.weights(64, 64).sum() > 0
    white = View.of({"image": portrait(), "mask": Image.new("L", PORTRAIT, 255)}, (512, 512))
    assert white.corner == View.of({"image": portrait()}, (512, 512)).corner


def test_weights_are_shares_of_white_also_of_a_mask_of_another_size() -> None:
    mask = Image.new("L", (8, 8))
    ImageDraw.Draw(mask).rectangle((0, 0, 3, 7), fill=255)
    ImageDraw.Draw(mask).rectangle((4, 0, 7, 7), fill=51)
    view = View.of({"image": Image.new("RGB", (8, 8)), "mask": mask}, (8, 8))
    assert torch.allclose(view.weights(2, 2), torch.tensor([[[1.0, 0.2], [1.0, 0.2]]]))
    larger = View.of({"image": Image.new("RGB", (64, 64)), "mask": mask}, (8, 8))
    assert torch.allclose(larger.weights(2, 2), view.weights(2, 2), atol=0.05)
    assert torch.equal(View.of({"image": Image.new("RGB", (8, 8))}, (8, 8)).weights(2, 2), torch.ones(1, 2, 2))


def test_a_masked_loss_is_the_mean_over_what_is_white_and_a_white_mask_changes_nothing() -> None:
    error = torch.rand(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    half = torch.zeros(3, 1, 8, 8)
    half[..., :4] = 1
    assert torch.allclose(weighted_mean(error, half), error[..., :4].flatten(1).mean(1))
    assert torch.allclose(weighted_mean(error, half * 0.3), weighted_mean(error, half))
    assert torch.allclose(weighted_mean(error, torch.ones(3, 1, 8, 8)), error.flatten(1).mean(1))


def test_what_is_black_in_a_mask_has_no_part_in_the_loss(tiny_diffusion: DiffusionBackbone) -> None:
    mask = Image.new("L", (32, 32))
    ImageDraw.Draw(mask).rectangle((0, 0, 15, 31), fill=255)
    batch = tiny_diffusion.encode([{"image": Image.new("RGB", (32, 32), "red"), "mask": mask}])
    assert batch["mask"].shape == (1, 1, 8, 8)
    assert torch.equal(batch["mask"][0, 0], torch.cat([torch.ones(8, 4), torch.zeros(8, 4)], dim=1))
    draw = tiny_diffusion.fixed_draws(1, 1, 0)[0]
    assert draw.noise is not None
    with torch.no_grad(), tiny_diffusion.lora.use(None):
        masked = tiny_diffusion.loss(batch, draw)
        whole = tiny_diffusion.loss({name: tensor for name, tensor in batch.items() if name != "mask"}, draw)
        predicted = tiny_diffusion.predicted_by(
            tiny_diffusion.network, batch, draw, tiny_diffusion.device, torch.float32
        )
    error = (predicted - draw.noise).square()
    assert torch.allclose(masked, error[..., :4].flatten(1).mean(1), rtol=1e-5)
    assert torch.allclose(whole, error.flatten(1).mean(1), rtol=1e-5)

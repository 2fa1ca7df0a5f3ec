"""The U-Net: a small one of Stable Diffusion XL, which learns to predict velocity."""

import torch
from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from demo.emoji_64.latents import Batch
from demo.emoji_64.model import IMAGE_SIZE, LATENT_CHANNELS, LATENT_SIDE, Recipe
from demo.emoji_ldm import model as emoji_ldm

WIDTHS = (48, 96, 160)
HEADS = (2, 4, 5)
TIME_WIDTH = 16  # of each number of a picture's sizes
# What SDXL is told beside the caption: the file's size, where it was cut, the size that is drawn.
SIZES = (IMAGE_SIZE, IMAGE_SIZE, 0, 0, IMAGE_SIZE, IMAGE_SIZE)


def build_unet(text_width: int) -> UNet2DConditionModel:
    """Build a denoiser of 9.6 M parameters told by two encoders of this width joined."""
    cross_down, cross_up = "CrossAttnDownBlock2D", "CrossAttnUpBlock2D"
    return UNet2DConditionModel(
        sample_size=LATENT_SIDE,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        layers_per_block=1,
        block_out_channels=WIDTHS,
        down_block_types=("DownBlock2D", cross_down, cross_down),
        up_block_types=(cross_up, cross_up, "UpBlock2D"),
        transformer_layers_per_block=[1, 1, 2],
        use_linear_projection=True,
        cross_attention_dim=2 * text_width,
        attention_head_dim=list(HEADS),  # this class reads the values as numbers of heads
        norm_num_groups=16,
        addition_embed_type="text_time",
        addition_time_embed_dim=TIME_WIDTH,
        projection_class_embeddings_input_dim=len(SIZES) * TIME_WIDTH + text_width,
    )


def build_scheduler() -> DDPMScheduler:
    """Build emoji-ldm's noise schedule with velocity as the target, and no signal left at its end.

    Colours and outlines are decided where there is next to none: noise as the target hardly teaches them there, and
    pictures take their tint from the noise that they begin with (Lin et al. 2305.08891).
    """
    whole = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
    return DDPMScheduler.from_config(emoji_ldm.build_scheduler().config, **whole)


def velocity_loss(unet: UNet2DConditionModel, batch: Batch) -> torch.Tensor:
    """Compute the error of the velocity (Salimans & Ho 2202.00512) at uniform timesteps."""
    device, latents, scheduler = unet.device, batch.latents, build_scheduler()
    noise = torch.randn(latents.shape, generator=batch.draw)
    timesteps = torch.randint(0, scheduler.config.num_train_timesteps, (len(latents),), generator=batch.draw)
    sizes = torch.tensor([SIZES] * len(latents), dtype=torch.float32)
    predicted = unet(
        scheduler.add_noise(latents, noise, timesteps).to(device),
        timesteps.to(device),
        torch.cat([batch.states] * 2, dim=-1).to(device),
        added_cond_kwargs={"text_embeds": batch.whole.to(device), "time_ids": sizes.to(device)},
    ).sample
    return (predicted.float() - scheduler.get_velocity(latents, noise, timesteps).to(device)).square().mean()


def build_pipeline(
    vae: AutoencoderKL, unet: UNet2DConditionModel, text_encoder: CLIPTextModelWithProjection, tokenizer: CLIPTokenizer
) -> StableDiffusionXLPipeline:
    """Join the components; both places for a CLIP hold the same one, in the first without what projects the whole."""
    first = CLIPTextModel(text_encoder.config)
    first.load_state_dict(text_encoder.text_model.state_dict())
    return StableDiffusionXLPipeline(
        vae=vae,
        unet=unet,
        scheduler=build_scheduler(),
        text_encoder=first.to(text_encoder.dtype),
        tokenizer=tokenizer,
        text_encoder_2=text_encoder,
        tokenizer_2=tokenizer,
        force_zeros_for_empty_prompt=False,  # it has learned what no caption is
        add_watermarker=False,
    )


XL = Recipe(build_unet, velocity_loss, build_pipeline, rates=(1.2e-3, 2e-5, 100), steps=5000)

"""How pictures become numbers, as each model's publisher did it; with Pillow and numpy alone."""

from __future__ import annotations

from typing import Any

from PIL.Image import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil


class PublishedProcessor(CLIPImageProcessorPil):
    """CLIP's, which drops what is transparent: transformers today puts such pictures on white."""

    def process_image(self, image: Any, *given: Any, **named: Any) -> Any:
        return super().process_image(
            image.convert("RGB") if isinstance(image, Image) else image, *given, **named
        )


def squeeze(size: int) -> Any:
    """Pictures of MiniGPT-4, VPGTrans and mPLUG-Owl: each side becomes ``size`` long, whatever it was."""
    return PublishedProcessor(size={"height": size, "width": size}, do_center_crop=False)


def crop(size: int) -> Any:
    """Pictures of Otter: the shorter side becomes ``size`` long, and the middle square is kept."""
    return PublishedProcessor(
        size={"shortest_edge": size}, crop_size={"height": size, "width": size}, default_to_square=False
    )

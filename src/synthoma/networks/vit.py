"""The small vision transformer of DINOv2 (ViT-S/14), with its public names, so that its weights fit.

Oquab et al. 2023, "DINOv2: learning robust visual features without supervision", https://arxiv.org/abs/2304.07193;
Dosovitskiy et al. 2021, https://arxiv.org/abs/2010.11929.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["DinoV2Small"]

WIDTH, DEPTH, HEADS, PATCH = 384, 12, 6, 14
TRAINED = 37
"""Patches a side of the images (518 pixels) that its positions were trained with."""
OFFSET = 0.1
"""Added to the patches a side when positions are resized, as its authors do; without it the features differ."""


class DinoV2Small(nn.Module):
    """(n, 3, y, x), normalised as ImageNet, sides divisible by 14 → (n, 384): the class token after the last norm."""

    def __init__(self) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.pos_embed = nn.Parameter(torch.randn(1, 1 + TRAINED**2, WIDTH) * 0.02)
        self.mask_token = nn.Parameter(torch.zeros(1, WIDTH))  # of its training; in the file, and of no use here
        self.patch_embed = _Patches()
        self.blocks = nn.ModuleList(_Block() for _ in range(DEPTH))
        self.norm = nn.LayerNorm(WIDTH, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """Features."""
        rows, columns = x.shape[-2] // PATCH, x.shape[-1] // PATCH
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), self.patch_embed(x)], dim=1)
        tokens = tokens + self._positions(rows, columns)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)[:, 0]  # type: ignore[no-any-return]

    def _positions(self, rows: int, columns: int) -> Tensor:
        if (rows, columns) == (TRAINED, TRAINED):
            return self.pos_embed
        grid = self.pos_embed[:, 1:].reshape(1, TRAINED, TRAINED, WIDTH).permute(0, 3, 1, 2)
        factor = ((rows + OFFSET) / TRAINED, (columns + OFFSET) / TRAINED)
        resized = F.interpolate(grid, scale_factor=factor, mode="bicubic")
        return torch.cat([self.pos_embed[:, :1], resized.flatten(2).transpose(1, 2)], dim=1)


class _Patches(nn.Module):
    """14 × 14 pixels to a token."""

    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, WIDTH, PATCH, stride=PATCH)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).flatten(2).transpose(1, 2)  # type: ignore[no-any-return]


class _Block(nn.Module):
    """Attention and two layers, each after a norm, scaled feature by feature and added to its input."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH, eps=1e-6), nn.LayerNorm(WIDTH, eps=1e-6)
        self.attn, self.mlp = _Attention(), _TwoLayers()
        self.ls1, self.ls2 = _Scale(), _Scale()

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))  # type: ignore[no-any-return]


class _Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, _ = x.shape
        query, key, value = self.qkv(x).reshape(n, tokens, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.proj(mixed.transpose(1, 2).reshape(n, tokens, WIDTH))  # type: ignore[no-any-return]


class _TwoLayers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))  # type: ignore[no-any-return]


class _Scale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma

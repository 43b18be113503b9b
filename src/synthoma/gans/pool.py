"""A pool of earlier images, so that a discriminator is not only shown the latest ones.

Shrivastava et al. 2017, "Learning from simulated and unsupervised images through adversarial training", section 2.3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from synthoma.gans.engine import Engine

__all__ = ["ImagePool"]


class ImagePool(nn.Module):
    """Up to ``size`` images (c, [z,] y, x). They are buffers, so they are saved and come back with the run."""

    def __init__(self, size: int, *shape: int) -> None:
        super().__init__()
        self.size = size
        self.images: Tensor
        self.filled: Tensor
        self.register_buffer("images", torch.zeros(size, *shape))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))
        self._count = 0  # as ``filled``, which only a loaded state is asked for: reading it waits for the device
        self.register_load_state_dict_post_hook(_count_again)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def exchange(self, images: Tensor, engine: Engine) -> Tensor:
        """The images (n, …), half of them replaced by earlier ones once the pool is full (CycleGAN's rule).

        The images of all processes go through one pool, the same in each.
        """
        if self.size == 0:
            return images.detach()
        whole = engine.gathered(images).clone()
        draws = engine.uniform_for_all(2 * len(whole)).tolist()
        for i in range(len(whole)):
            if self._count < self.size:
                self.images[self._count] = whole[i]
                self._count += 1
            elif draws[2 * i] > 0.5:
                place = int(draws[2 * i + 1] * self.size)
                earlier = self.images[place].clone()
                self.images[place] = whole[i]
                whole[i] = earlier
        self.filled.fill_(self._count)
        return engine.share(whole)


def _count_again(pool: ImagePool, _: object) -> None:
    pool._count = int(pool.filled)

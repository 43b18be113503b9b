"""Which device and which precision a run uses: by what the hardware has, not by a guess."""

from __future__ import annotations

from pathlib import Path

import torch

from synthoma.errors import SettingError, describe

__all__ = ["cpu_has_bf16", "device_for", "precision_for"]


def cpu_has_bf16() -> bool:
    """Whether the processor has instructions for bf16 products. Without them bf16 is a hundred times slower."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="ignore")
    except OSError:
        return False  # not Linux: float32 is always right
    return "avx512_bf16" in flags or "amx_bf16" in flags


def device_for(name: str) -> torch.device:
    """The device for ``auto``, ``cpu`` or ``cuda``."""
    if name == "cuda" and not torch.cuda.is_available():
        raise SettingError(describe("training.device", "a CUDA device", "none", "Use --set training.device=cpu."))
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def precision_for(name: str, device: torch.device) -> torch.dtype:
    """float32 or bfloat16 for ``auto``, ``float32`` or ``bf16`` on ``device``."""
    if name == "float32":
        return torch.float32
    has = torch.cuda.is_bf16_supported() if device.type == "cuda" else cpu_has_bf16()
    if name == "bf16" and not has:
        raise SettingError(
            describe(
                "training.precision", "hardware with bf16 instructions", "none", "Use --set training.precision=float32."
            )
        )
    return torch.bfloat16 if has else torch.float32

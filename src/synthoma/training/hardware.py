"""Which device and which precision a run uses: by what the hardware has, not by a guess."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from synthoma.errors import MissingPartError, SettingError, describe

__all__ = ["channels_last_for", "check_compiler", "cpu_has_bf16", "device_for", "keep_memory", "precision_for"]

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h


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
    """What ``auto``, ``float32``, ``bf16`` or ``fp16`` means on ``device``."""
    if name in ("float32", "fp16"):
        return torch.float16 if name == "fp16" else torch.float32
    has = torch.cuda.is_bf16_supported() if device.type == "cuda" else cpu_has_bf16()
    if name == "bf16" and not has:
        raise SettingError(
            describe(
                "training.precision", "hardware with bf16 instructions", "none", "Use --set training.precision=float32."
            )
        )
    return torch.bfloat16 if has else torch.float32


def channels_last_for(name: str, device: torch.device) -> bool:
    """What ``auto``, ``on`` or ``off`` means on ``device``."""
    return name == "on" or (name == "auto" and device.type == "cuda")


def check_compiler(device: torch.device) -> None:
    """Compile something small, so that a missing compiler is found before anything is written.

    Raises:
        MissingPartError: there is none, or it does not work.
    """

    def double(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    try:
        torch.compile(double)(torch.ones(8, device=device))
    except Exception as error:  # whatever it is, the compiler does not work here
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        expected = "a C++ compiler" if device.type == "cpu" else "Triton and a C compiler"
        remedy = "Install it (apt install g++, or set CXX), or use --set training.compile=false."
        raise MissingPartError(
            describe("training.compile", f"{expected} that works", reason.rstrip("."), remedy)
        ) from error


def keep_memory() -> None:
    """Let glibc keep what a step frees, instead of giving it back to the system and asking for it again.

    A step frees and allocates gigabytes; without this every step pays hundreds of thousands of page faults. Where the
    C library knows no ``mallopt`` nothing happens.
    """
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)

"""The base of every block of settings: frozen, nothing unknown accepted, ready for a JSON schema."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["Options"]


class Options(BaseModel):
    """A validated, immutable block of settings. Each room declares its own below this one."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, use_attribute_docstrings=True)

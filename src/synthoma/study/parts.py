"""Whether the optional packages of a reader study are installed."""

from __future__ import annotations

from importlib.util import find_spec

from synthoma.errors import MissingPartError, describe

__all__ = ["check_parts"]

PARTS = ("fastapi", "uvicorn", "sqlmodel", "jinja2", "itsdangerous")
DRIVERS = {"postgresql": "psycopg"}


def check_parts(database: str = "") -> None:
    """Refuse to begin without the packages that a study needs.

    Args:
        database: the URL of the database; PostgreSQL has a driver of its own.

    Raises:
        MissingPartError: one of them is not installed.
    """
    driver = next((package for kind, package in DRIVERS.items() if database.startswith(kind)), None)
    for part in (*PARTS, *([driver] if driver else [])):
        if find_spec(part) is None:
            extra = "study,postgresql" if part == driver else "study"
            expected = f"the packages of synthoma[{extra}]"
            raise MissingPartError(describe("study", expected, f"no {part}", f"pip install 'synthoma[{extra}]'"))

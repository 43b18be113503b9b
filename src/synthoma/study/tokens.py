"""Signed links and cookies (itsdangerous: HMAC-SHA256 over the content, keyed by the study's secret and a purpose)."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from hashlib import sha256

from itsdangerous import BadSignature, Signer, URLSafeSerializer, URLSafeTimedSerializer

__all__ = [
    "ADMINISTRATOR",
    "Visit",
    "csrf_token",
    "link_token",
    "links_text",
    "read_cookie",
    "read_link",
    "write_cookie",
]

ADMINISTRATOR = 0
"""In the place of a reader's number."""
VISIT_SECONDS = 12 * 3600
"""After so long the link must be opened again."""
SIGNING = {"digest_method": sha256, "key_derivation": "hmac"}


@dataclass(frozen=True)
class Visit:
    """Who is there, from one opening of a link to the next."""

    reader: int
    session: str
    """Random; answers given in another session can no longer be changed."""


def link_token(secret: str, study: str, who: int) -> str:
    """What a private link carries: the same for one person of one study."""
    return str(URLSafeSerializer(secret, salt="link", signer_kwargs=SIGNING).dumps([study, who]))


def read_link(secret: str, study: str, token: str) -> int | None:
    """Whose link it is, or ``None`` if nobody's."""
    try:
        content = URLSafeSerializer(secret, salt="link", signer_kwargs=SIGNING).loads(token)
    except BadSignature:
        return None
    return int(content[1]) if content[0] == study else None


def write_cookie(secret: str, study: str, who: int, session: str = "") -> str:
    """The cookie of a visit; a new session unless one is given."""
    content = [study, who, session or secrets.token_hex(8)]
    return str(URLSafeTimedSerializer(secret, salt="visit", signer_kwargs=SIGNING).dumps(content))


def read_cookie(secret: str, study: str, cookie: str) -> Visit | None:
    """The visit of a cookie, or ``None`` if it is forged, of another study, or too old."""
    try:
        content = URLSafeTimedSerializer(secret, salt="visit", signer_kwargs=SIGNING).loads(
            cookie, max_age=VISIT_SECONDS
        )
    except BadSignature:
        return None
    return Visit(int(content[1]), str(content[2])) if content[0] == study else None


def links_text(secret: str, study: str, readers: int, base: str) -> str:
    """The private links, a line each, the administrator's last. What follows the # never reaches a server's log."""
    who = {f"reader {reader}": reader for reader in range(1, readers + 1)} | {"administrator": ADMINISTRATOR}
    return "".join(f"{name:<14} {base}/enter#{link_token(secret, study, n)}\n" for name, n in who.items())


def csrf_token(secret: str, visit: Visit) -> str:
    """What a page of ours sends back with every change, and no other site can know."""
    signer = Signer(secret, salt="csrf", digest_method=sha256, key_derivation="hmac")
    return signer.get_signature(f"{visit.reader}/{visit.session}").decode("ascii")

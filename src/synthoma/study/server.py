"""The application, and the server that runs it."""

from __future__ import annotations

import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from synthoma.errors import InputError, describe
from synthoma.study import api, pages
from synthoma.study.database import open_database
from synthoma.study.folder import Study
from synthoma.study.guards import Guards
from synthoma.study.tokens import links_text
from synthoma.study.visits import Served
from synthoma.study.writer import Writer

__all__ = ["create_app", "serve"]

LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})
TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}


def create_app(study: Study, database: str = "", hosts: frozenset[str] = LOCAL) -> FastAPI:
    """The web application of a study.

    Args:
        study: an open study.
        database: URL of the database; that in the folder when empty.
        hosts: the names that the server goes by; any when empty.
    """
    engine = open_database(database or study.database)
    writer = Writer(engine)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        with writer:
            yield
        engine.dispose()

    app = FastAPI(title="Reader study", openapi_url=None, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.state.served = Served(study, study.secret(), engine, writer, _templates())
    app.include_router(api.router)
    app.include_router(pages.router)
    _add_static(app)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(SQLAlchemyError, _not_stored)
    app.add_middleware(Guards, hosts=hosts)
    return app


def serve(
    study: Study, *, host: str, port: int, url: str = "", database: str = "", say: Callable[[str], None] = print
) -> None:
    """Serve a study until it is told to stop; prints the links when it is ready.

    Raises:
        InputError: the address is taken or not this machine's, or ``url`` is no address of a site.
    """
    import uvicorn

    public = urlsplit(url)
    if url and (public.scheme not in ("http", "https") or not public.hostname or public.path.strip("/")):
        raise InputError(describe("--url", "https://NAME, as the readers type it", f"'{url}'"))
    listening = _listen(host, port)
    port = int(listening.getsockname()[1])
    local = host in LOCAL
    names = LOCAL | {host} | ({public.hostname} if public.hostname else set())
    app = create_app(study, database, frozenset(names) if local or url else frozenset())
    shown = f"[{host}]" if ":" in host else host
    base = url.rstrip("/") or f"http://{shown}:{port}"
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
        timeout_keep_alive=30,
    )
    say(links_text(study.secret(), study.design.study, len(study.design.readers), base).rstrip())
    say(f"Serving on {shown}:{port}; Ctrl-C stops, and nothing that was acknowledged is lost.")
    if not url:
        say(_beyond(port, local))
    uvicorn.Server(config).run(sockets=[listening])


def _beyond(port: int, local: bool) -> str:
    """What to do about TLS."""
    text = (
        "Readers elsewhere: put a reverse proxy with TLS in front, such as Caddy with\n"
        f"    reading.example.org {{ reverse_proxy 127.0.0.1:{port} }}\n"
        "and start this with --url https://reading.example.org."
    )
    return text if local else f"WARNING: without TLS answers and links cross the network in the clear.\n{text}"


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(2048)  # who follows a link that is printed already waits, and is not turned away
    except OSError as error:
        expected = "a free address of this machine"
        found = error.strerror or error
        raise InputError(describe(f"{host}:{port}", expected, found, "Choose another --port or --host.")) from error
    return listening


def _templates() -> Callable[..., str]:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("synthoma.study", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return lambda name, **content: environment.get_template(f"{name}.html.j2").render(**content)


def _add_static(app: FastAPI) -> None:
    """The scripts and the style, each by its name: no path of a request ever becomes a path on the disk."""
    known = {
        entry.name: (entry.read_bytes(), kind)
        for entry in files("synthoma.study").joinpath("static").iterdir()
        for end, kind in TYPES.items()
        if entry.name.endswith(end)
    }

    @app.get("/static/{name}", include_in_schema=False)
    async def static(name: str) -> Response:
        if name not in known:
            raise HTTPException(404, "There is no such file.")
        data, kind = known[name]
        return Response(data, media_type=kind, headers={"Cache-Control": "no-cache"})


async def _refused(request: Request, error: Any) -> Response:
    if _by_script(request):
        return JSONResponse({"detail": error.detail}, error.status_code, headers=error.headers)
    return pages.wrong(request.app.state.served, error.status_code, str(error.detail))


async def _invalid(request: Request, error: Any) -> Response:
    """What is wrong, without what was sent: it may be anything."""
    if not _by_script(request):
        return pages.wrong(request.app.state.served, 404, "There is no such page.")
    wrong = [
        api.Wrong(where=re.sub(r"[^\w.]", "?", ".".join(map(str, one["loc"]))), what=one["msg"])
        for one in error.errors()[:10]
    ]
    return JSONResponse(api.Invalid(detail="The request is not valid.", errors=wrong).model_dump(), 422)


async def _not_stored(_request: Request, _error: Any) -> Response:
    return JSONResponse({"detail": "The answer could not be stored; try again."}, 503, headers={"Retry-After": "2"})


def _by_script(request: Request) -> bool:
    return request.url.path.startswith(("/api/", "/static/"))

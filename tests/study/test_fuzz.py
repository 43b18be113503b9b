"""The interface, fuzzed from its own description: whatever is sent, nothing breaks."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

from synthoma.study.server import create_app

pytestmark = pytest.mark.slow

CHECKS = [not_a_server_error, status_code_conformance, response_schema_conformance]


@pytest.mark.parametrize(
    "operation",
    [("/api/visit", "POST"), ("/api/visit", "DELETE"), ("/api/answers", "POST"), ("/api/drafts", "POST"),
     ("/api/image/{item}", "GET")],
    ids=" ".join,
)  # fmt: skip
@pytest.mark.parametrize("inside", [False, True], ids=["a stranger", "a reader"])
def test_no_request_breaks_the_server(app, visit, operation, inside):
    application = create_app(app[1])  # started and stopped for every request
    served = application.state.served
    for limit in (served.entries, served.requests):
        limit.clock = iter(range(10**9)).__next__  # a second passes between any two requests
    schema = schemathesis.openapi.from_dict(application.openapi())
    schema.app = application
    schema.config.base_url = "http://127.0.0.1"
    reader = visit(1)
    cookies = dict(reader.client.cookies.items()) if inside else {}
    headers = reader.headers if inside else {}
    path, method = operation
    strategy = schema[path][method].as_strategy()

    @settings(
        max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
    )  # fmt: skip
    @given(case=strategy)
    def sent(case):
        if inside and isinstance(case.body, dict) and "item" in case.body:
            case.body["item"] = reader.order[0].id  # past the door, into the database
        case.call_and_validate(cookies=cookies, headers=headers, checks=CHECKS)

    sent()


def test_the_description_names_every_route(app):
    paths = app[0].openapi()["paths"]
    found = {(path, method) for path, methods in paths.items() for method in methods}
    assert found == {
        ("/api/visit", "post"), ("/api/visit", "delete"), ("/api/answers", "post"), ("/api/drafts", "post"),
        ("/api/image/{item}", "get"),
    }  # fmt: skip

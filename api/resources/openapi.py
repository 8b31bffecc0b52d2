"""The OpenAPI 3.1 document (https://spec.openapis.org/oas/v3.1.0)."""

from typing import Any

from ratesflow.api.resources.parameters import MAX_DAYS, PARAMETERS, PORT_CODE
from ratesflow.api.resources.problems import CONTENT_TYPE, KINDS

Json = dict[str, Any]

DAY = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
LOCATION = rf"^({PORT_CODE.pattern}|[a-z0-9][a-z0-9_-]*)$"
EXAMPLES = {"date_from": "2021-01-01", "date_to": "2021-01-31", "orig_code": "CNGGZ", "dest_code": "baltic"}


def specification() -> Json:
    """Return the document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ratesflow",
            "version": "1",
            "summary": "Average freight prices per day between ports and regions.",
            "description": "Prices arrive in batches; a batch becomes visible as a whole. An average covers all prices "
            "of a day, in US dollars, and is null for fewer than three prices.",
        },
        "paths": {
            "/": _item("Where to start", "home", _home(), [_accept("text/html")]),
            "/rates": _item("Rates per day", "rates", _rates(), [*_parameters(), *_conditional(), _accept("text/csv")]),
            "/ports": _item("All ports", "ports", _data("Ports", "All ports, by code."), _conditional()),
            "/regions": _item("The tree of regions", "regions", _data("Regions", "The top level."), _conditional()),
            "/docs": _item("The documentation page", "docs", _text("text/html", "The page."), _conditional()),
            "/openapi.json": _item(
                "The OpenAPI document", "openapi",
                _text("application/json", "The document.", {"type": "object"}), _conditional(),
            ),
            "/health/live": _item("Whether the process is alive", "live", {"200": _health("It is alive.", "live")}, []),
            "/health/started": _item(
                "Whether the process has reached the database since it started", "started",
                {"200": _health("It has reached the database.", "started"), "503": _reference("unavailable")}, [],
            ),
            "/health/ready": _item(
                "Whether requests can be served", "ready",
                {"200": _health("Requests can be served.", "ready", "busy"), "503": _reference("unavailable")}, [],
            ),
        },
        "components": {"schemas": _schemas(), "responses": _problems(), "headers": _headers()},
    }  # fmt: skip


def _item(summary: str, name: str, responses: Json, parameters: list[Json]) -> Json:
    """Return a path with GET and HEAD, which differ only in the body."""
    responses = {**responses, "400": responses.get("400") or _reference("bad-request"), "500": _reference("internal")}
    if not parameters:
        del responses["400"]
    bodiless = {
        status: {key: value for key, value in response.items() if key != "content"}
        if "content" in response or status in {"200", "304"}
        else {"description": "As for GET, without the body."}
        for status, response in responses.items()
    }
    return {
        "get": {"operationId": name, "summary": summary, "parameters": parameters, "responses": responses},
        "head": {
            "operationId": f"{name}_head",
            "summary": f"{summary}, without the body",
            "parameters": parameters,
            "responses": bodiless,
        },
    }


def _parameters() -> list[Json]:
    parameters = []
    for name, description in PARAMETERS.items():
        is_day = name.startswith("date")
        schema = {"type": "string", "format": "date", "pattern": DAY} if is_day else {
            "type": "string", "pattern": LOCATION, "minLength": 1, "maxLength": 200}  # fmt: skip
        parameters.append({
            "name": name, "in": "query", "required": True, "description": description, "schema": schema,
            "example": EXAMPLES[name],
        })  # fmt: skip
    return parameters


def _conditional() -> list[Json]:
    return [{
        "name": "If-None-Match", "in": "header", "required": False, "schema": {"type": "string"},
        "description": "The ETag of an earlier response; if it is still valid, the status is 304.",
    }]  # fmt: skip


def _accept(other: str) -> Json:
    return {
        "name": "Accept", "in": "header", "required": False, "schema": {"type": "string"},
        "description": f"`{other}` selects that instead of `application/json`.",
    }  # fmt: skip


def _home() -> Json:
    message = {"type": "object", "required": ["message"], "properties": {"message": {"type": "string"}},
               "additionalProperties": False}  # fmt: skip
    content = {"application/json": {"schema": message}, "text/html": {"schema": {"type": "string"}}}
    return {"200": {"description": "A message for programs, or the explorer for browsers.", "content": content},
            "304": {"description": "The page has not changed."}}  # fmt: skip


def _rates() -> Json:
    csv = {"schema": {"type": "string"}, "example": "day,count,price\r\n2021-01-31,3,1154.3333333333333\r\n"}
    return {
        "200": {
            "description": "Every day of the range, newest first.",
            "headers": _response_headers(),
            "content": {"application/json": {"schema": _schema("Rates")}, "text/csv": csv},
        },
        "304": {"description": "The response has not changed.", "headers": _response_headers()},
        "400": _reference("invalid-parameters"),
        "404": _reference("unknown-location"),
        "503": _reference("unavailable"),
    }


def _data(schema: str, description: str) -> Json:
    content = {"application/json": {"schema": _schema(schema)}}
    return {
        "200": {"description": description, "headers": _response_headers(), "content": content},
        "304": {"description": "The response has not changed.", "headers": _response_headers()},
        "503": _reference("unavailable"),
    }


def _text(media_type: str, description: str, schema: Json | None = None) -> Json:
    content = {media_type: {"schema": schema or {"type": "string"}}}
    return {"200": {"description": description, "content": content},
            "304": {"description": "It has not changed."}}  # fmt: skip


def _health(description: str, *states: str) -> Json:
    schema = {"type": "object", "required": ["status"], "properties": {"status": {"enum": list(states)}}}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _schema(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _reference(name: str) -> Json:
    return {"$ref": f"#/components/responses/{name}"}


def _response_headers() -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in ("ETag", "Cache-Control", "Vary")}


def _headers() -> Json:
    return {
        "ETag": {
            "description": "Identifies the response and its version.",
            "schema": {"type": "string"},
        },
        "Cache-Control": {"description": "How long the response may be cached.", "schema": {"type": "string"}},
        "Vary": {"description": "The request headers that the response depends on.", "schema": {"type": "string"}},
        "Retry-After": {"description": "Seconds to wait before a retry.", "schema": {"type": "string"}},
    }


def _problems() -> Json:
    problems: Json = {
        name: {"description": description, "content": {CONTENT_TYPE: {"schema": _schema("Problem")}}}
        for name, description in KINDS.items()
    }
    problems["unavailable"]["headers"] = {"Retry-After": {"$ref": "#/components/headers/Retry-After"}}
    problems["bad-request"] = {
        "description": "A header is malformed.", "content": {CONTENT_TYPE: {"schema": _schema("Problem")}},
    }  # fmt: skip
    return problems


def _object(required: str, **properties: Json) -> Json:
    return {"type": "object", "required": required.split(), "properties": properties, "additionalProperties": False}


def _schemas() -> Json:
    text: Json = {"type": "string"}
    slug: Json = {"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]*$"}
    code: Json = {"type": "string", "pattern": f"^{PORT_CODE.pattern}$"}
    rate = _object(
        "count day price",
        count={
            "type": ["integer", "null"],
            "minimum": 1,
            "description": "The number of prices; null if there are none.",
        },
        day={"type": "string", "format": "date"},
        price={"type": ["number", "null"], "description": "Their average in US dollars; null if fewer than three."},
    )
    invalid = _object("parameter detail", parameter=text, detail=text)
    return {
        "Rate": rate,
        "Rates": _object(
            "rates", rates={"type": "array", "items": _schema("Rate"), "minItems": 1, "maxItems": MAX_DAYS}
        ),
        "Port": _object("code name parent_slug", code=code, name=text, parent_slug=slug),
        "Ports": _object("ports", ports={"type": "array", "items": _schema("Port")}),
        "Region": _object(
            "slug name parent_slug ports regions",
            slug=slug, name=text, parent_slug={**slug, "type": ["string", "null"]},
            ports={"type": "array", "items": code, "description": "The ports directly under it."},
            regions={"type": "array", "items": _schema("Region"), "description": "The regions directly under it."},
        ),
        "Regions": _object("regions", regions={"type": "array", "items": _schema("Region")}),
        "Problem": {
            "type": "object",
            "description": "What is wrong, with which parameter, and what to do (RFC 9457).",
            "required": ["type", "title", "status", "detail"],
            "properties": {
                "type": {"type": "string", "description": "The address of the description of this kind of problem."},
                "title": text,
                "status": {"type": "integer"},
                "detail": text,
                "parameter": {"type": "string", "description": "The first invalid parameter."},
                "errors": {"type": "array", "items": invalid, "description": "Every invalid parameter."},
            },
        },
    }  # fmt: skip

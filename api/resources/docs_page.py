"""The documentation page, generated from the OpenAPI document so that both agree."""

import re
from html import escape
from typing import Any

from ratesflow.api.resources.problems import KINDS

Json = dict[str, Any]

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>ratesflow: documentation</title>
<link rel="icon" href="/static/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/static/explorer.css">
</head>
<body class="docs">
<header>
<h1><a href="/">ratesflow</a></h1>
<nav><a href="/">Explorer</a> <a href="/openapi.json">openapi.json</a></nav>
</header>
<main>
<p class="lead">{summary} {description}</p>
<h2 id="first">A first request</h2>
<pre><code>curl 'http://localhost:3000{example}'</code></pre>
<p>The response has every day of the range, newest first:</p>
<pre><code>{{"rates":[{{"count":3,"day":"2021-01-31","price":1154.3333333333333}},
          {{"count":2,"day":"2021-01-30","price":null}},
          {{"count":null,"day":"2021-01-29","price":null}}, …]}}</code></pre>
<p>For a day with fewer than three prices <code>price</code> is null; for a day without prices both
are null. As CSV: <code>curl -H 'Accept: text/csv' …</code></p>
<h2 id="fresh">Caching and polling</h2>
<p>A response changes only when a batch with prices between its locations is committed or undone, or when ports or
regions change. Each response has an <code>ETag</code>: send it back as <code>If-None-Match</code>, and the response
is <code>304</code> if nothing has changed. <code>Cache-Control</code> has the time for which a response may be cached.
Every response has an <code>X-Request-Id</code>, yours if you sent one: quote it when you report a problem.</p>
{paths}
<h2 id="problems">Problems</h2>
<p>Errors are <code>application/problem+json</code> (RFC 9457). <code>detail</code> describes what is wrong and what
to do; <code>errors</code> lists every invalid parameter.</p>
<dl>{problems}</dl>
</main>
</body>
</html>
"""


def docs_page(document: Json) -> str:
    """Return the documentation page for an OpenAPI document."""
    info = document["info"]
    example = "/rates?" + "&amp;".join(
        f"{each['name']}={each['example']}"
        for each in document["paths"]["/rates"]["get"]["parameters"]
        if "example" in each
    )
    return PAGE.format(
        summary=escape(info["summary"]),
        description=escape(info["description"]),
        example=example,
        paths="".join(_path(path, item["get"], document) for path, item in document["paths"].items()),
        problems="".join(f'<dt id="{kind}"><code>{kind}</code></dt><dd>{escape(KINDS[kind])}</dd>' for kind in KINDS),
    )


def _path(path: str, operation: Json, document: Json) -> str:
    parameters = "".join(
        f"<tr><td><code>{each['name']}</code></td><td>{each['in']}{', required' if each['required'] else ''}</td>"
        f"<td>{_text(each['description'])}</td></tr>"
        for each in operation["parameters"]
    )
    responses = "".join(
        f"<tr><td><code>{status}</code></td><td>{escape(_resolved(response, document)['description'])}</td></tr>"
        for status, response in sorted(operation["responses"].items())
    )
    table = f"<div class=scroll><table><caption>Parameters</caption>{parameters}</table></div>" if parameters else ""
    return (
        f'<h2 id="{operation["operationId"]}"><code>GET {path}</code></h2><p>{escape(operation["summary"])}.</p>{table}'
        f"<div class=scroll><table><caption>Responses</caption>{responses}</table></div>"
    )


def _text(description: str) -> str:
    """Return a text of the document as HTML; code is between backquotes."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(description))


def _resolved(response: Json, document: Json) -> Json:
    name = response.get("$ref", "").rpartition("/")[2]
    found: Json = document["components"]["responses"][name] if name else response
    return found

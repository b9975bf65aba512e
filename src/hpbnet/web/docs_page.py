"""/docs: the API described on a page of our own, made of its OpenAPI description; it needs no script and no network."""

import json
from html import escape
from typing import cast

from fastapi import FastAPI

Node = dict[str, object]
_METHODS = ("get", "post", "put", "delete")
_CURL = {
    "/v1/compose": "curl -F portrait=@portrait.jpg -F background=@beach.jpg -F warmth=0.2 {base}/v1/compose -o out.png",
    "/v1/matte": "curl -F portrait=@portrait.jpg {base}/v1/matte -o person.png",
    "/v1/harmonize": "curl -F composite=@composite.png -F mask=@mask.png {base}/v1/harmonize -o out.png",
    "/v1/videos": "curl -F portrait=@talk.mp4 -F background=@beach.jpg {base}/v1/videos",
}


def render_docs(app: FastAPI, base: str) -> str:
    """Return the page of an app that answers at a base address."""
    described = app.openapi()
    operations = [
        _operation(path, method, cast(Node, cast(Node, methods)[method]), base)
        for path, methods in cast(Node, described["paths"]).items()
        for method in _METHODS
        if method in cast(Node, methods)
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>hpbnet: the API</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="data:,"><link rel="stylesheet" href="/docs.css"></head>'
        "<body><main><h1>hpbnet: the API</h1>"
        "<p>Pictures are sent as a form (<code>multipart/form-data</code>) or as JSON with base64; settings are fields "
        "by name. The answer is a picture, or JSON where <code>Accept: application/json</code> asks for it. Errors are "
        "<code>application/problem+json</code>; their <code>detail</code> says what to do. "
        'For programs: <a href="/openapi.json">openapi.json</a>.</p>' + "".join(operations) + "</main></body></html>"
    )


def _operation(path: str, method: str, operation: Node, base: str) -> str:
    parts = [f"<h2><code>{method.upper()} {escape(path)}</code></h2>"]
    parts.append(f"<p>{escape(str(operation.get('description') or operation.get('summary') or ''))}</p>")
    if method == "post" and path in _CURL:
        parts.append(f"<pre>{escape(_CURL[path].format(base=base))}</pre>")
    rows = [_row(_schema_of(each), str(each["name"])) for each in cast(list[Node], operation.get("parameters", []))]
    content = cast(dict[str, Node], cast(Node, operation.get("requestBody", {})).get("content", {}))
    if content:
        schema = cast(Node, next(iter(content.values()))["schema"])
        required = cast(list[str], schema.get("required", []))
        rows += [
            _row(cast(Node, value), name, name in required)
            for name, value in cast(Node, schema.get("properties", {})).items()
        ]
    if rows:
        head = "<tr><th>name</th><th>value</th><th>default</th><th>what it does</th></tr>"
        parts.append(f"<details><summary>Parameters</summary><table>{head}{''.join(rows)}</table></details>")
    answers = cast(dict[str, Node], operation.get("responses", {}))
    listed = "".join(
        f"<li><code>{status}</code> {escape(str(each['description']))}</li>" for status, each in answers.items()
    )
    return "<section>" + "".join(parts) + f"<details><summary>Answers</summary><ul>{listed}</ul></details></section>"


def _schema_of(parameter: Node) -> Node:
    return cast(Node, parameter.get("schema", {})) | {"description": parameter.get("description", "")}


def _row(schema: Node, name: str, required: bool = False) -> str:
    kind = schema.get("type", "")
    kind = [each for each in kind if each != "null"] if isinstance(kind, list) else kind
    value = "file" if schema.get("format") == "binary" else " or ".join(kind) if isinstance(kind, list) else str(kind)
    if "items" in schema:
        value = "WIDTHxHEIGHT"
    elif "enum" in schema:
        value = ", ".join(str(each) for each in cast(list[object], schema["enum"]))
    elif "minimum" in schema:
        value += f" from {schema['minimum']:g} to {schema['maximum']:g}"
    default = "needed" if required else json.dumps(schema["default"]) if schema.get("default") is not None else ""
    cells = (f"<code>{escape(name)}</code>", escape(value), escape(default), escape(str(schema.get("description", ""))))
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


STYLE = """\
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0; }
main { max-width: 60rem; margin: 0 auto; padding: 1rem; }
h2 { font-size: 1.1rem; margin: 2rem 0 0; }
pre { white-space: pre-wrap; padding: 0.6rem; border: 1px solid #8888; border-radius: 6px; }
table { border-collapse: collapse; width: 100%; font-size: 0.9rem; }
th, td { text-align: left; vertical-align: top; padding: 0.25rem 0.5rem; border-bottom: 1px solid #8884; }
summary { cursor: pointer; }
"""

"""Shows the OpenAPI document as one HTML page, for people: no script, nothing fetched from elsewhere."""

import json
from html import escape
from typing import Any

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:#223}
h1,h2{color:#33407a}code,pre{font:14px/1.4 ui-monospace,monospace;background:#f3f4fa}
pre{padding:.7rem;overflow:auto}summary{cursor:pointer;padding:.4rem}
details{border:1px solid #d5d8ea;border-radius:.4rem;margin:.4rem 0;padding:0 .6rem}
table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid #e3e5f2;text-align:left;
padding:.3rem .5rem;vertical-align:top}.m{display:inline-block;min-width:4.5rem;font-weight:700;color:#2f7f60}
"""


def page(document: dict[str, Any]) -> str:
    """Give the page."""
    info = document["info"]
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(info['title'])}</title>",
        f"<meta name=viewport content='width=device-width'><style>{_STYLE}</style>",
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1>",
        *(f"<p>{_text(paragraph)}</p>" for paragraph in info["description"].split("\n\n")),
    ]
    for tag in document["tags"]:
        parts.append(f"<h2>{escape(tag['name'])}</h2><p>{_text(tag['description'])}</p>")
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if tag["name"] in operation["tags"]:
                    parts.append(_operation(method, path, operation))
    parts.append("<h2>Types</h2>")
    for name, schema in document["components"]["schemas"].items():
        parts.append(
            f"<details id='{escape(name)}'><summary><code>{escape(name)}</code> "
            f"{_text(schema.get('description', ''))}</summary><table>"
        )
        required = schema.get("required", ())
        for field, one in schema.get("properties", {}).items():
            note = "" if field in required else " <i>(may be left out)</i>"
            parts.append(_row(f"<code>{escape(field)}</code>{note}", one))
        parts.append("</table></details>")
    return "\n".join(parts)


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    parts = [
        f"<details id='{escape(operation['operationId'])}'><summary><span class=m>{method.upper()}</span> "
        f"<code>{escape(path)}</code> {escape(operation['summary'])}</summary>",
        f"<p>{_text(operation.get('description', ''))}</p><table>",
    ]
    for one in operation.get("parameters", ()):
        note = "" if one["required"] else " <i>(optional)</i>"
        parts.append(
            _row(
                f"{one['in']} <code>{escape(one['name'])}</code>{note}", one["schema"], one.get("description")
            )
        )
    body = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if body:
        parts.append(_row("body", body["schema"]))
    for status, answer in operation["responses"].items():
        content: dict[str, Any] = next(iter(answer.get("content", {}).values()), {})
        if "$ref" in answer:
            parts.append(f"<tr><td>{status}<td>{escape(answer['$ref'].rsplit('/', 1)[1])}</tr>")
        else:
            parts.append(_row(status, content.get("schema", {}), answer["description"]))
    parts.append("</table>")
    if body and "example" in body:
        parts.append(f"<pre>{escape(json.dumps(body['example'], indent=2))}</pre>")
    return "".join(parts) + "</details>"


def _row(first: str, schema: dict[str, Any], description: str | None = None) -> str:
    said = description or schema.get("description", "")
    return f"<tr><td>{first}<td>{_kind(schema)}<td>{_text(said)}</tr>"


def _kind(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = escape(schema["$ref"].rsplit("/", 1)[1])
        return f"<a href='#{name}'>{name}</a>"
    if "allOf" in schema:
        return "problem"
    if "anyOf" in schema:
        return " or ".join(_kind(one) for one in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    limits = ", ".join(
        f"{name} {value}"
        for name, value in schema.items()
        if name.startswith(("min", "max", "enum", "const", "format", "default"))
    )
    return escape(f"{schema.get('type', '')} {limits}".strip())


def _text(text: str) -> str:
    parts = escape(text).replace("**", "\0b").split("\0b")
    return "".join(f"<b>{part}</b>" if at % 2 else part for at, part in enumerate(parts))

"""The API's OpenAPI document: made from the routes at build time, compared with what was promised, shown."""

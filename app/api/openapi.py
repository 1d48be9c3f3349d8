"""Finishes the OpenAPI document: the error bodies, which routes name by reference only."""

from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from app.api.responses import PROBLEM_MODELS


def describe(app: FastAPI) -> None:
    """Make the application's OpenAPI document complete, once, when it is first asked for."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = generate()
            _, definitions = models_json_schema(
                [(model, "serialization") for model in PROBLEM_MODELS],
                ref_template="#/components/schemas/{model}",
            )
            schemas = document["components"]["schemas"]
            schemas.update(definitions["$defs"])
            # FastAPI's own description of a 422 is not what ours look like.
            schemas.pop("HTTPValidationError", None)
            schemas.pop("ValidationError", None)
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend it.

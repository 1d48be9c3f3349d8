"""The ASGI application, for `uvicorn main:app`."""

from app.api.application import create_application

app = create_application()

"""How the engines' environment is made on first run: standard library, pydantic and `studio.record` only.

The window ships whole and small; torch and the engines are gigabytes that
depend on the device, and are fetched by `uv` from the project's lock.
"""

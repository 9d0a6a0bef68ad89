"""The admin HTTP API: JSON in and out, problem+json for what goes wrong.

`routes.py` is the table of all endpoints; handlers stand in one module a subject, the shapes of bodies and
answers in `models/`. Nothing here knows SQL: the catalogues and the scheduler come in as ports.
"""

"""Bodies, queries and answers; the OpenAPI document is made from them."""

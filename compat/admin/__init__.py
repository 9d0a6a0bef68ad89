"""The web endpoints of xxl-job-admin that scripts use, in the generations that clients know.

Enters: HTTP as people's scripts send it. Leaves: calls of the ports of `gateway.core`, and the answers that the admin of
the script's time gave. docs/admin-endpoints.md says what differs.
"""

"""A shadow: what this scheduler would have fired beside what the old admin's log says; nothing is dispatched or written.

`values` go in (looks at the old database), `watch` follows every job through `track`, whose lines (`slotted`, `rated`) give
rows of the log to slots; `tally` counts what comes out, `words` says it, `report` shows it.
"""

"""The peers of ``benchmarks.jobs``: one program each, so that none disturbs another.

    PROGRAM ACTION COUNT

It finds its database through the ``PG...`` environment, as every driver does, and prints a JSON list of numbers: jobs a
second, or milliseconds each. ``install`` and ``defer`` only prepare a database. The queue is called ``work``.
"""

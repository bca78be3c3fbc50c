"""Channels: how people outside the application are told.

    email        what a delivery says, as a message whose identity is the same on every try
    transport    where messages go: an SMTP server, or a folder of ``.eml`` files
    outgoing     the way of one delivery: load, build, send with no transaction open, mark

The in-app channel needs none of this: its rows are written with the crossing.
"""

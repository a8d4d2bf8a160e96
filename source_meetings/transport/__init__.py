"""How requests are sent and answers accepted.

``client`` sends a request until it gets a good answer. ``auth`` identifies the sender, ``answer``
says what a good answer looks like, and ``waits`` how long to wait before the next try.
"""

"""How requests are sent and answers accepted.

``client`` sends a request until its answer is good, ``auth`` says who sends it, ``answer`` what a
good answer looks like, and ``waits`` how long to wait before the next try.
"""

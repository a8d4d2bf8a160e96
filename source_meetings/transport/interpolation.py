"""A lock around the rendering of double braces in manifests.

The CDK passes every rendered text to ``ast.literal_eval``. In some versions of Python, such as
3.11.7, this fails in two threads at the same time:
``SystemError: AST constructor recursion depth mismatch``
(https://github.com/python/cpython/issues/106905).
"""

from __future__ import annotations

import threading

one_at_a_time = threading.Lock()

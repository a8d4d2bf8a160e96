"""One lock around what a manifest has in double braces.

The CDK passes every rendered text to ``ast.literal_eval``. Some versions of Python, 3.11.7 for one,
let two threads that do so at once end in ``SystemError: AST constructor recursion depth mismatch``
(https://github.com/python/cpython/issues/106905).
"""

from __future__ import annotations

import threading

one_at_a_time = threading.Lock()

"""A local server that acts as the providers' documents say, including the awkward parts.

    with Sandbox(clock="2026-06-01T00:00:00Z") as box:
        box.salesloft.generate(count=1000)
        requests.get(f"{box.salesloft.base_url}/meetings", headers=...)

`python -m sandbox` runs the same server for a demo.
"""

from sandbox.server import RecordedRequest, Sandbox

__all__ = ["RecordedRequest", "Sandbox"]

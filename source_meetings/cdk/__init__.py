"""Where the connector meets the CDK.

``requester`` is the requester that manifests name, ``stream`` makes a stream of what a manifest
says and a strategy does, and ``cursor`` saves what its sync may promise.
"""

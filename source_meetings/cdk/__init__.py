"""Where the connector meets the CDK.

``requester`` is the requester that manifests name, ``stream`` builds a stream from a manifest entry
and a strategy, and ``cursor`` saves the state of its sync.
"""

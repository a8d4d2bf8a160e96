"""How a stream is kept equal to its provider: decisions only, without HTTP and without the CDK.

``reading`` has the interfaces. ``chain`` runs one sync. ``clock``, ``look_back`` and
``fingerprints`` are shared by the providers' strategies.
"""

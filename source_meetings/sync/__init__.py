"""How a stream is kept equal to its provider: decisions only, without HTTP and without the CDK.

``reading`` has the interfaces, ``chain`` the course of one sync, and ``clock``, ``look_back`` and
``fingerprints`` what the providers' strategies decide alike.
"""

"""Airbyte source connector for the meetings of Close, Salesloft, HighLevel and ExpoPlatform."""

__version__ = "0.1.0"

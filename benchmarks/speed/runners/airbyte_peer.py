"""Runs another Airbyte connector at another base URL: `… MODULE CLASS FROM TO COMMAND …`.

The URL is in the connector's code or manifest, and no option changes it. So the runner replaces the
URL of each request just before it is sent. It changes nothing else.
"""

import sys
from importlib import import_module

import requests
from airbyte_cdk.entrypoint import launch

if __name__ == "__main__":
    module, name, old, new, *arguments = sys.argv[1:]
    send = requests.Session.send

    def send_to_another_url(session, request, **options):
        request.url = request.url.replace(old, new, 1)
        return send(session, request, **options)

    requests.Session.send = send_to_another_url
    launch(getattr(import_module(module), name)(), arguments)

"""Runs tap-closeio at another base URL: `… singer_tap_closeio.py URL --config FILE …`.

The URL is a constant, and no option changes it. The tap reads activities of all kinds in one list.
The sandbox has the list of meetings, which takes the same parameters, so the path is replaced too.
"""

import sys

if __name__ == "__main__":
    sys.path.pop(0)  # this file has the tap's name
    from tap_closeio import http, main, streams
    from tap_closeio.schemas import IDS

    http.BASE_URL = sys.argv.pop(1)
    streams.PATHS[IDS.ACTIVITIES] = "/activity/meeting/"
    main()

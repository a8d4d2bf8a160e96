"""`make bench`: how fast this connector and others read the same meetings, and at what cost."""

"""Sessions of requests-cache, for a comparison: takes a command a line, and answers each with a line.

usage: python.py FOLDER PAGES
"""

import platform
import sys
from importlib.metadata import version
from pathlib import Path
from time import perf_counter_ns

from requests_cache import CachedSession


class Sessions:
    def __init__(self, folder, pages):
        self.folder = Path(folder)
        self.pages = int(pages)
        self.opened = {}

    def versions(self):
        names = ", ".join(f"{name} {version(name)}" for name in ("requests-cache", "requests"))
        return f"{names}, Python {platform.python_version()}"

    def open(self, name, backend, cache_control, prefix):
        path = self.folder / f"python-{name}"
        session = CachedSession(str(path), backend=backend, cache_control=cache_control == "true")
        self.opened[name] = (session, [f"{prefix}{page}" for page in range(self.pages)])
        return "opened"

    def body(self, name, page):
        session, urls = self.opened[name]
        return session.get(urls[int(page)]).content.hex()

    def hits(self, name, first, count):
        session, urls = self.opened[name]
        started = perf_counter_ns()
        for n in range(int(first), int(first) + int(count)):
            response = session.get(urls[n % len(urls)])
            if not response.from_cache or not response.content:
                sys.exit("a stored answer is missing")
        return perf_counter_ns() - started


def main():
    sessions = Sessions(*sys.argv[1:])
    for line in sys.stdin:
        command, *arguments = line.split()
        print(getattr(sessions, command)(*arguments), flush=True)


main()

"""Sends requests through requests-cache: a JSON object on the standard input says which, one on the output what came.

For tests of a cache that larder and Python share.
"""

import json
import sys

import requests
from requests_cache import CachedSession


def main():
    order = json.load(sys.stdin)
    options = {"serializer": order.get("serializer", "json"), "expire_after": order.get("expire_after", -1)}
    for name in ("match_headers", "ignored_parameters"):
        if name in order:
            options[name] = order[name]
    if order["backend"] == "redis":
        options["connection"] = __import__("redis").Redis.from_url(order["redis_url"])
    session = CachedSession(
        order["name"], backend=order["backend"], allowable_methods=("GET", "HEAD", "POST"), allowable_codes=(200, 404), **options
    )
    results = []
    for wanted in order["requests"]:
        # Cookies of one case are not sent in the next.
        session.cookies.clear()
        body = wanted["body"].encode()
        request = requests.Request(wanted["method"], wanted["url"], headers=wanted["headers"], data=body)
        response = session.send(
            session.prepare_request(request),
            allow_redirects=True,
            only_if_cached=order.get("only_if_cached", False),
        )
        results.append(
            {
                "from_cache": response.from_cache,
                "status": response.status_code,
                "body": response.content.hex(),
                "url": response.url,
                "history": [hop.status_code for hop in response.history],
                "headers": dict(response.headers),
                "expired": response.is_expired,
                "key": response.cache_key,
            }
        )
    report = {"results": results, "urls": session.cache.urls(), "keys": sorted(session.cache.responses.keys())}
    json.dump(report, sys.stdout)


main()

"""Writes 500 requests and the keys that requests-cache computes for them, one JSON object a line.

Seeded: the same requests every time.
"""

import base64
import json
import random
import re
import sys

import requests
from requests_cache.cache_keys import create_key
from requests_cache.policy.settings import DEFAULT_IGNORED_PARAMS
from requests_cache.serializers import json_serializer

PIECES = [
    "a=1", "a=2", "b=1", "B=1", "a=1", "k", "key-only", "K2", "empty=", "=novalue", "x=%7E", "x=~", "x=+", "x=%20", "x=a+b",
    "p=%2B", "p=%26", "p=%3D", "p=1%2F2", "p=1/2", "u=http://y.org/?q=1", "u=http%3A%2F%2Fy.org", "é=ü", "n=日本", "n=%C3%A9",
    "n=%e9", "n=%E9%80", "c=cafe%CC%81", "access_token=s3cret", "api_key=x", "apikey=y", "API_KEY=z", "token=t", "q='quoted'",
    "q=%22d%22", "s=a;b", "s=a%3Bb", "a=1;b=2", "br=[1]", "br%5B0%5D=1", "pipe=a|b", "c=^`{}", "d=1,2,3", "e=a@b:c", "f=$!*()",
    "z=%00", "bad=%zz", "bad=100%", "r=a=b=c", "+=plus", "sp ace=1 2", "empty=&=", "q=?", "h=%23", "m=\\", "t=%09",
]
PATHS = [
    "", "/", "/a", "/a/", "/a/b/c", "/a//b", "//a", "/a/./b", "/a/../b", "/../a", "/a/%2e%2e/b", "/%7Euser", "/~user", "/a%2Fb",
    "/a%2fb", "/ü", "/%C3%BC", "/u%CC%88", "/a b", "/a%20b", "/a;b=1", "/a;", "/a;b;", "/a;b/c", "/(x)", "/a'b", "/a*b", "/a:b",
    "/@me", "/a+b", "/%E9", "/100%", "/%zz/%41", "/a|b", "/[x]", "/a%5Bb", "/..", "/.", "/a/.", "/a/..", "/a,b", "/x=y", "/$&",
    "/%3f%23", "/日本/語", "/a%25b",
]
HOSTS = [
    "x.org", "X.ORG", "x.org.", "sub.Example.com", "127.0.0.1", "localhost", "bücher.example", "xn--bcher-kva.example", "[::1]",
    "a-b.example", "under_score.example", "faß.example",
]
PORTS = ["", "", "", ":80", ":443", ":8080", ":0443"]
FRAGMENTS = ["", "", "", "", "#frag", "#a b", "#!bang", "#a=1&b=ü", "#%41"]
JSON_BODIES = [
    '{"b": 1, "a": 2}', '{"a":2,"b":1}', '{"z": {"b": 1, "a": [3, 1, 2]}, "a": null}', "[3, 1, 2]", '["b", "a", "api_key"]',
    '[{"a": 1}]', '[{"b": 1}, {"a": 2}]', '[1, "a"]', '"text"', "42", "true", "null", "{}", "[]", '{"access_token": "s", "x": 1}',
    '{"ü": "é", "e": "\\u00e9", "emoji": "😀", "esc": "\\ud83d\\ude00", "lone": "\\ud800"}', '{"f": 1.0, "g": 1e16, "h": 1e-5}',
    '{"f": 0.1, "g": 1E3, "h": 1e300, "i": 0.0001, "j": -0.0, "k": 1e15}', '{"n": 123456789012345678901234567890, "m": -0}',
    '{"a": 1, "a": 2}', '{"a": {"x": 1, "y": 2, "x": 3}}', "{bad", '{"a": 1} x', '{"nl": "a\\nb\\t\\u0000\\u007f/\\/"}', "[null]",
    "[true, 0, 2, 1.5]", "[1.5, 1]", "[10, 9, -1, -10]", ' { "a" : [ ] , "b" : { } } ', '{"a": NaN, "b": Infinity}', '"ba"',
    '{"a": 01}', '{"a": .5}', '{"a": 1.}', "[[2], [1]]", "[[1]]", '{"Authorization": "x", "X-API-Key": "y", "x-api-key": "z"}',
    '{"password": "p"}', "\ufeff{}", "{'a': 1}", '{"a":1,}', '{"a": "tab\there"}',
]
FORM_BODIES = [
    "a=1&b=2", "b=2&a=1", "a=1&a=0", "k", "k&a=1", "a=&b=1", "a=%C3%A9", "a=é", "api_key=x&b=1", "a=1+2", "a=%2B", "x=%zz", "a=b=c",
    "z&y&x=1", "&&a=1",
]
JSON_TYPES = [
    "application/json", "application/json; charset=utf-8", "Application/JSON", "application/vnd.api+json", "text/json",
]


def generate(rng):
    scheme = rng.choice(["http", "https", "HTTP"])
    query = "&".join(rng.sample(PIECES, rng.randint(0, 6)))
    # Where one `%` is no escape, Python escapes each of them. Which ones were typed, larder can only guess.
    path = rng.choice(PATHS)
    if "bad=" in query:
        query = "&".join(piece for piece in query.split("&") if not re.search("%[0-9A-F]{2}", piece))
    if "%zz" in path or "100%" in path:
        path = path.replace("%41", "")
    url = scheme + "://" + rng.choice(HOSTS) + rng.choice(PORTS) + path
    if query or rng.random() < 0.1:
        url += "?" + query
    url += rng.choice(FRAGMENTS)
    method = rng.choice(["GET", "GET", "GET", "HEAD", "POST", "POST", "PUT", "delete"])
    headers, body = {}, ""
    if method in ("POST", "PUT"):
        kind = rng.randint(0, 3)
        if kind == 0:
            headers["Content-Type"], body = rng.choice(JSON_TYPES), rng.choice(JSON_BODIES)
        elif kind == 1:
            headers["Content-Type"], body = "application/x-www-form-urlencoded", rng.choice(FORM_BODIES)
        elif kind == 2:
            headers["Content-Type"], body = "text/plain", rng.choice(JSON_BODIES + FORM_BODIES)
    match = []
    if rng.random() < 0.3:
        headers["Accept"] = rng.choice(["text/html", "text/HTML, application/json", "application/json,text/html ,"])
        headers["accept-language"] = rng.choice(["en", "DE"])
        headers["X-API-Key"] = "secret"
        match = rng.sample(["accept", "Accept-Language", "X-Missing", "X-API-Key"], rng.randint(1, 4))
    return method, url, headers, body.encode(), match, rng.random() < 0.9


def main():
    rng = random.Random(20261125)
    count = 0
    while count < 500:
        method, url, headers, body, match, verify = generate(rng)
        try:
            prepared = requests.Session().prepare_request(requests.Request(method, url, headers=headers, data=body))
            for name in headers:
                assert name in prepared.headers
            key = create_key(
                prepared, ignored_parameters=DEFAULT_IGNORED_PARAMS, match_headers=match, serializer=json_serializer, verify=verify
            )
        except (requests.exceptions.RequestException, UnicodeError):
            continue
        case = {
            "method": method, "url": url, "headers": headers, "body": base64.b64encode(body).decode(), "match": match,
            "verify": verify, "key": key,
        }
        sys.stdout.write(json.dumps(case) + "\n")
        count += 1


main()

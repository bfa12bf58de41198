"""A client of HTTP APIs that knows nothing of Counterfoil.

    http_client.py PLAN URL

PLAN is a JSON list of [method, path, headers, body]; a body of null is none. Prints a JSON list of
what came back. Odd entries go by httpx, even ones by urllib.
"""

import json
import sys
import urllib.error
import urllib.request

import httpx


def by_httpx(method, url, headers, body):
    answer = httpx.request(method, url, headers=headers, content=body, trust_env=False)
    return answer.status_code, answer.headers, answer.content


def by_urllib(method, url, headers, body):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, data=body, headers=headers, method=method)
    try:
        with opener.open(request) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.headers, answer.read()


def main(plan, url):
    answers = []
    for index, (method, path, headers, body) in enumerate(json.loads(plan)):
        send = by_urllib if index % 2 else by_httpx
        body = None if body is None else body.encode()
        status, received, content = send(method, url + path, headers, body)
        received = {name.lower(): value for name, value in received.items()}
        kept = ("content-type", "location", "etag", "counterfoil-evidence")
        answers.append(
            {
                "status": status,
                "headers": {name: received[name] for name in kept if name in received},
                "body": content.decode(),
            }
        )
    print(json.dumps(answers))


main(*sys.argv[1:])

"""An MCP server of one tool, whose results refer to evidence from elsewhere.

    attesting_tool.py MEMBER DID

MEMBER is what stands in `_meta` of its results, as JSON. Every call adds a line to the file DID.
"""

import json
import sys

member, did = json.loads(sys.argv[1]), sys.argv[2]
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    if message["method"] == "initialize":
        result = {
            "protocolVersion": message["params"]["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "attesting", "version": "1"},
        }
    else:
        with open(did, "a", encoding="utf-8") as file:
            file.write(message["method"] + "\n")
        result = {"content": [{"type": "text", "text": "done"}], "_meta": member}
    answer = {"jsonrpc": "2.0", "id": message["id"], "result": result}
    print(json.dumps(answer, separators=(",", ":")), flush=True)

"""A handler as the template python3-http has it: greets, reads JSON, counts, and answers with a status of its own."""
import json

calls = 0


def handle(event, context):
    global calls
    calls += 1
    if event.path == "/calls":  # of this process; warm workers have one each
        return {"body": {"calls": calls, "pod": context.hostname}}
    if event.method == "POST" and event.headers.get("Content-Type") == "application/json":
        name = json.loads(event.body).get("name")
        if not name:
            return {"statusCode": 400, "body": {"error": "a name is missing"}}
    else:
        name = event.query.get("name", "world")
    return {"statusCode": 200, "body": "hello %s\n" % name, "headers": {"Content-Type": "text/plain; charset=utf-8"}}

import time

loaded = time.time()  # once: what a call changes here, no other one sees


def hello(event, context):
    data = event['data']
    name = data.get('name') if isinstance(data, dict) else data.decode()
    return {'hello': name or 'world', 'from': event['event-namespace'], 'function': context['function-name'], 'age': time.time() - loaded}

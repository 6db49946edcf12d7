import nuclio_sdk  # nobody has to install it


def init_context(context):
    context.user_data.greeting = 'hello'


def handler(context, event):
    context.logger.info_with('called', trigger=event.trigger.kind)
    name = event.fields.get('name') or event.body.decode() or 'world'
    return nuclio_sdk.Response(body='%s, %s\n' % (context.user_data.greeting, name), headers={'X-Worker': context.worker_id})

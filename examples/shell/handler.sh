#!/bin/sh
# One process per request: the body is standard input, the answer standard output, standard error the log.
echo "request $HTTP_X_REQUEST_ID from $REMOTE_ADDR" >&2
echo "$REQUEST_METHOD $PATH_INFO"
wc -c

<?php
// An example function: greets, reads JSON, tells what was uploaded, and streams.

function handle($req)
{
    if ($req->path === '/stream') {
        return stream(5);
    }
    if ($req->method === 'POST' && strpos($req->header('Content-Type', ''), 'json') !== false) {
        return ['hello' => $req->json()['name'] ?? 'world'];
    }
    if (in_array($req->method, ['POST', 'PUT'])) {
        return ['bytes' => strlen($req->body), 'sha256' => hash('sha256', $req->body)];
    }
    return 'hello ' . ($req->args['name'][0] ?? 'world') . "\n";
}

// Each item reaches the client when it is yielded.
function stream(int $count)
{
    for ($i = 0; $i < $count; $i++) {
        yield "part $i\n";
        usleep(200000);
    }
}

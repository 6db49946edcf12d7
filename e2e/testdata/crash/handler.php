<?php
// Ways to fail, by path.
function handle($req)
{
    switch ($req->path) {
        case '/raise': throw new Exception('the secret reason');
        case '/exit': exit(3);
        case '/_exit': exec('kill -TERM ' . getmypid()); sleep(10); break; // it has no word for it
        case '/bomb': exec('sh bomb.sh'); break;
        case '/segv': exec('kill -SEGV ' . getmypid()); break;
        case '/kill': exec('kill -KILL ' . getmypid()); break;
        case '/loop': for (;;);
        case '/stdout': fclose(STDOUT); break;
        case '/garbage': fwrite(fopen('php://fd/4', 'wb'), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"); break;
        case '/log': fwrite(STDOUT, str_repeat('x', 1000000) . "\n"); break;
        case '/hog':
            ini_set('memory_limit', '64M');
            for ($all = [];;) {
                $all[] = str_repeat('x', 10000000);
            }
    }
    return 'hello';
}

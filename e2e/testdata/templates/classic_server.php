<?php
// What the PHP templates of OpenFaaS start for each request. Written to the contract.
require 'function/src/Handler.php';

echo (new App\Handler())->handle(stream_get_contents(STDIN));

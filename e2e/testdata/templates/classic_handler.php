<?php
// A handler of the PHP templates that answers in every way there is, by what it gets.
namespace App;

class Handler
{
    public function handle(string $data)
    {
        switch ($data) {
            case 'print': echo 'echoed;'; fwrite(STDOUT, 'written;'); printf('%05d', 7); return 'returned';
            case 'none': return null;
            case 'empty': return '';
            case 'child': passthru('echo of a child'); return `echo captured`;
            case 'exit 0': echo 'so far'; exit;
            case 'raise': echo 'lost'; throw new \DomainException('the reason');
            case 'html': return '<!DOCTYPE html>';
            case 'set': putenv('MINE=x' . getenv('MINE')); $_SERVER['MINE'] = 'y'; return getenv('MINE');
            case 'env': return $this->variables();
            case 'binary': return "\x00\xff";
            case 'number': return 5;
            case 'error': fwrite(STDERR, "the reason\n"); return 'fine';
            case 'later': ob_start(); echo 'a'; ob_start(); return 'b';
            case 'object': return true;
            case 'reject': echo ini_get('display_errors'); return getcwd() === '/' ? 'no' : basename(getcwd() . '/here');
        }
        return $data . strlen($data) . stream_get_contents(STDIN);
    }

    private function variables(): string
    {
        $all = array_filter(getenv(), function ($name) {
            return preg_match('/^Http_(?!Host|Accept_Encoding|User_Agent|Connection|X_)/', $name);
        }, ARRAY_FILTER_USE_KEY);
        ksort($all);
        return var_export($all, true) . ($_SERVER['Http_Path'] ?? '') . ($_ENV['Http_Method'] ?? 'unset');
    }
}

# Ways to fail, by path.
sub handle {
    my $path = shift->path;
    die 'the secret reason' if $path eq '/raise';
    exit 3 if $path eq '/exit';
    if ($path eq '/_exit') { require POSIX; POSIX::_exit(3) }
    system 'sh', 'bomb.sh' if $path eq '/bomb';
    kill 'SEGV', $$ if $path eq '/segv';
    kill 'KILL', $$ if $path eq '/kill';
    if ($path eq '/loop') { 1 while 1 }
    close STDOUT if $path eq '/stdout';
    if ($path eq '/garbage') {
        open my $answers, '>>&', 4;
        syswrite $answers, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    }
    syswrite STDOUT, 'x' x 1_000_000 . "\n" if $path eq '/log';
    if ($path eq '/hog') {
        system 'prlimit', '--pid', $$, '--data=400000000';
        my @all;
        push @all, 'x' x (10_000_000 + @all) while 1;
    }
    return 'hello';
}

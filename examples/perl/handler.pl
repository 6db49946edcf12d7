# An example function: greets, reads JSON, tells what was uploaded, and streams.
use strict;
use warnings;

use Digest::SHA 'sha256_hex';

sub handle {
    my $req = shift;
    return stream(5) if $req->path eq '/stream';
    if ($req->method eq 'POST' && ($req->header('Content-Type') || '') =~ /json/) {
        return { hello => $req->json->{name} || 'world' };
    }
    if ($req->method =~ /^(?:POST|PUT)$/) {
        return { bytes => length $req->body, sha256 => sha256_hex($req->body) };
    }
    return 'hello ' . ($req->args->{name}[0] || 'world') . "\n";
}

# What each call returns reaches the client at once.
sub stream {
    my $count = shift;
    my $i = 0;
    return sub {
        select undef, undef, undef, 0.2 if $i;
        return $i < $count ? 'part ' . $i++ . "\n" : undef;
    };
}

1;

package wrapper_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/workers/wrapper"
)

var perl = native{
	language: language{
		name: "perl", file: "handler.pl", source: wrapper.Perl,
		interpreter: sync.OnceValues(func() (string, error) { return interpreter("FNPOD_TEST_PERL", "perl", "-e", "print $^X") }),
	},
	runtime: `^5\.\d+\.\d+$`,
	hello:   "sub handle { 'hello' }\n",
	handler: func(body string) string { return "use utf8;\nsub handle {\n  my $req = shift;\n  " + body + "\n}\n" },
	choose: func(bodies []string) string {
		return "use utf8;\nsub handle {\n  (sub { " + strings.Join(bodies, " },\n   sub { ") + " })[shift->query]->()\n}\n"
	},
	bang:   "my $b = $req->body . '!'; \\$b",
	init:   "my $n = 0;\nsub init { $n++ }\nsub go { \"init ran $n times\" }\n",
	raised: [3]string{"die", "bad thing ü", "handler.pl line 5."},
	exits:  "the handler called exit(3)",
	unusable: [][2]string{
		{"qr/x/", "handler returned a Regexp; expected a string, undef, a reference to a hash"},
		{"bless {}, 'A'", "handler returned an A; expected"},
		{"\\\"€\"", "handler returned a reference to characters"},
		{"{status => 'ok', body => 'a'}", "handler returned 'ok' as status; expected an integer"},
		{"{status => 99, body => 'a'}", "handler returned status 99; expected 200 to 599"},
		{"{status => 600}", "handler returned status 600"},
		{"[sub {}]", "handler returned an ARRAY that is not JSON"},
		{"{body => 'a', headers => {x => undef}}", "handler returned undef as header value of x"},
		{"{body => 'a', headers => 1}", "handler returned '1' as headers"},
		{"{body => 'a', headers => {x => \"a\\nb\"}}", "line break or NUL in the header x"},
		{"{body => 'a', headers => ['x y', 'a']}", "handler returned a header with the name 'x y'"},
		{"{body => 'a', headers => {x => '€'}}", "header value of x with characters beyond latin-1"},
		{"{body => 'a', headers => {x => 'a' x 2_000_000}}", "bytes of headers; the limit is"},
		{"sub { [] }", "handler yielded an ARRAY; expected a string"},
	},
	broken: [][3]string{
		{"", "Unreadable", "cannot read the handler"},
		{"sub handle {\n", "die", "Missing right curly"},
		{"sub main_ {}\n1;", "LookupError", "handler.pl has no function 'handle'; it has main_"},
		{"die \"db\\n\";\n", "die", "db"},
		{"die bless [], 'My::Error';\n", "My::Error", "My::Error=ARRAY"},
		{"use No::Such::Thing;\n", "die", "Can't locate No/Such/Thing.pm"},
		{"exit 4;\n", "exit", "the handler called exit(4)"},
		{"sub init { die 'no' }\nsub handle {}\n", "die", "no"},
	},
	goes:   "go",
	text:   perlRoutes,
	routes: perlRoutes,
}

const perlRoutes = `use utf8;
use strict;
use warnings;

sub fails { die $_[0] }

END { print "bye\n" }

sub list { my @items = @_; return sub { my $item = shift @items; ref $item eq 'CODE' ? $item->() : $item } }

sub handle {
  my $req = shift;
  my $path = $req->path;
  return 'grüß' if $path eq '/text';
  return '' if $path eq '/empty';
  return "\x00\xff" if $path eq '/bytes';
  return undef if $path eq '/nothing';
  return { a => [1, 'ü', undef] } if $path eq '/object';
  return [1, 2.5, \1] if $path eq '/list';
  return { status => 201, headers => { 'Content-Type' => 'text/csv', 'X-A' => [1, 'ü'] }, body => 'a,b' } if $path eq '/answer';
  return { status => 404 } if $path eq '/status';
  return { body => 'later', status => 202, headers => ['X-N', 7] } if $path eq '/implied';
  fails('bad thing ü') if $path eq '/raise';
  exit(3) if $path eq '/exit';
  return $req->body if $path eq '/echo';
  return $req->query . $req->text if $path eq '/portion';
  return list('ä', 'b') if $path eq '/stream';
  return list() if $path eq '/stream/none';
  return list(sub { die "early\n" }) if $path eq '/stream/early';
  return list('a', sub { die "late\n" }) if $path eq '/stream/late';
  return list('a', {}) if $path eq '/stream/wrong';
  if ($path eq '/stream/file') {
    open my $f, '<', __FILE__ or die $!;
    return $f;
  }
  return list(('x' x 50_000) x 100) if $path eq '/stream/large';
  return sub { 'x' x 1000 } if $path eq '/stream/endless';
  if ($path eq '/slow') {
    select undef, undef, undef, 0.05;
    return list('x' x 300_000, 'y');
  }
  if ($path eq '/print') {
    print "out line\n";
    print STDERR "err line\n";
    return 'printed';
  }
  if ($path eq '/request') {
    my $left = $req->remaining;
    return {
      method => $req->method, path => $req->path, query => $req->query, args => $req->args, scheme => $req->scheme, host => $req->host,
      peer => $req->peer, body => $req->text, json => $req->json, id => $req->id,
      type => [$req->header('Content-Type'), $req->headers->{'content-type'}],
      accept => $req->headers->{accept}, cookie => $req->header('Cookie'), all => $req->headers_all->{accept}, none => $req->header('x'),
      latin => $req->headers->{'x-latin'}, remaining => $left > 0 && $left <= 5 ? \1 : \0,
      deadline => abs($req->deadline - time - 5) < 5 ? \1 : \0,
    };
  }
  return [$req->id, $req->deadline, $req->remaining, $req->text] if $path eq '/request/plain';
  return $req->text if $path eq '/request/text';
  return $req->json if $path eq '/request/json';
  if ($path eq '/hidden') {
    my $mine = grep { /^FNPOD_WORKER/ } keys %ENV;
    my $pid = fork;
    return 'the child must not be heard' if $pid == 0;
    waitpid $pid, 0;
    chomp(my $env = qx(env | grep -c ^FNPOD_WORKER));
    my $open = qx(ls /proc/self/fd | grep -c ^[4-6]);
    return "own: $mine, of a program: $env, descriptors: $open";
  }
}
`

func TestPerlFindsTheHandler(t *testing.T) {
	t.Parallel()
	for function, file := range map[string]string{
		"":       "use Neighbour;\nsub handle { 'found ' . Neighbour::x() }\n",
		"A.B.go": "package A::B;\nsub go { 'found 5' }\n0;\n",
	} {
		w := start(t, perl.language, file, options{function: function, files: map[string]string{"Neighbour.pm": "package Neighbour; sub x { 5 } 1;\n"}})
		require.Equal(t, "found 5", string(w.ask(get(1)).body))
	}
}

# The Perl side of a warm worker: reads request frames from one pipe, calls the handler, writes answer frames.
#
# Frames are described in docs/worker-protocol.md, the handler contract in docs/handlers.md. Perl 5.10 and later; modules
# that come with Perl are loaded when they are first used.
use strict;
use warnings;

BEGIN { # before the handler is compiled: exit in it is an error of one request, not the end of the worker
    *CORE::GLOBAL::exit = sub (;$) { Fnpod::Worker::exited(@_ ? $_[0] : 0) };
}

package Fnpod::Request;

use Time::HiRes ();

# One request. Its parts are decoded when they are first asked for.
sub new {
    my ($class, $raw, $end, $number) = @_; # the frame; its meta block ends at end, an inline body follows
    return bless { raw => $raw, end => $end, number => $number, at => Time::HiRes::time() }, $class;
}

sub fields { # six strings, then names and values
    my $self = shift;
    return $self->{fields} ||= do {
        my $meta = substr $self->{raw}, 16, $self->{end} - 16;
        utf8::upgrade($meta); # field bytes are latin-1
        [split /\0/, $meta, -1];
    };
}

sub method { $_[0]->fields->[0] }
sub path   { $_[0]->fields->[1] }
sub query  { $_[0]->fields->[2] }
sub scheme { (split / /, $_[0]->fields->[3], 2)[0] }
sub host   { (split / /, $_[0]->fields->[3], 2)[1] }
sub peer   { $_[0]->fields->[4] }
sub id     { my $id = $_[0]->header('x-request-id'); defined $id ? $id : "$_[0]{number}" }

# The body, as bytes.
sub body {
    my $self = shift;
    $self->{body} = substr $self->{raw}, $self->{end} unless defined $self->{body};
    return $self->{body};
}

# All headers, names in lower case, the values of a repeated name joined.
sub headers {
    my $self = shift;
    return $self->{headers} ||= do {
        my ($fields, %headers) = $self->fields;
        for (my $i = 6; $i < $#$fields; $i += 2) {
            my ($name, $value) = @$fields[$i, $i + 1];
            $headers{$name} = exists $headers{$name} ? $headers{$name} . ($name eq 'cookie' ? '; ' : ', ') . $value : $value;
        }
        \%headers;
    };
}

# All values of each name, in order.
sub headers_all {
    my ($fields, %all) = $_[0]->fields;
    for (my $i = 6; $i < $#$fields; $i += 2) {
        push @{ $all{ $fields->[$i] } }, $fields->[$i + 1];
    }
    return \%all;
}

# A header by its name in any case; undef when it is not there.
sub header { $_[0]->headers->{ lc $_[1] } }

# The query parsed: a hash of arrays.
sub args {
    my $self = shift;
    return $self->{args} ||= do {
        my %args;
        for my $part (grep { length } split /&/, $self->query) {
            my ($name, $value) = map { unescaped($_) } split(/=/, $part, 2), '';
            push @{ $args{$name} }, $value;
        }
        \%args;
    };
}

sub unescaped {
    my $s = shift;
    $s =~ tr/+/ /;
    $s =~ s/%([0-9a-fA-F]{2})/chr hex $1/ge;
    return decoded($s);
}

sub decoded {
    my $s = shift;
    utf8::downgrade($s, 1);
    utf8::decode($s);
    return $s;
}

# When the answer is wanted, in seconds since the epoch; undef without a deadline.
sub deadline {
    my $left = $_[0]->fields->[5];
    return length $left ? $_[0]{at} + $left / 1000 : undef;
}

# Seconds until the deadline, never below 0; undef without one.
sub remaining {
    my $deadline = $_[0]->deadline;
    return undef unless defined $deadline;
    my $left = $deadline - Time::HiRes::time();
    return $left > 0 ? $left : 0;
}

# The body as characters, in the charset of its content type, else UTF-8.
sub text {
    my $self = shift;
    my $type = $self->header('content-type');
    my ($charset) = (defined $type ? $type : '') =~ /charset\s*=\s*"?([^\s;"]+)/i;
    return decoded($self->body) if !$charset || $charset =~ /^utf-?8$/i;
    require Encode;
    return Encode::decode($charset, $self->body);
}

# The body parsed as JSON; dies when it is not.
sub json {
    require JSON::PP;
    return JSON::PP->new->utf8->allow_nonref->decode($_[0]->body);
}

package Fnpod::Error; # what the wrapper raises: a type and a message

sub raise { my ($type, $message) = @_; die bless { type => $type, message => $message }, __PACKAGE__ }

sub unusable { raise('UnusableResult', "handler returned $_[0]") }

package Fnpod::Worker; # the conversation with the parent; a handler has no business here

BEGIN { # as the module constant does, which would be a tenth of the start
    my %constants = (
        REQUEST => 1, DATA => 2, TRAILERS => 3, CANCEL => 4, WINDOW => 5, DRAIN => 7, LEAVE => 8, PING => 9,
        HELLO => 0x11, READY => 0x12, INIT_ERROR => 0x13, RESPONSE => 0x21, ERROR => 0x22, PONG => 0x29, BYE => 0x2F,
        LANE => 1, MORE => 2, INLINE => 8 << 10, PIECE => 64 << 10, CREDIT => 256 << 10, LIMIT => 1 << 20,
        HEADER => 'VVCCvV', # meta length, body length, type, flags, code, id
        TEXT   => "content-type\0text/plain; charset=utf-8",
        BINARY => "content-type\0application/octet-stream",
    );
    no strict 'refs';
    for my $name (keys %constants) {
        my $value = $constants{$name};
        *$name = sub () { $value };
    }
}

my ($in, $out, $lane, $lane_in, $lane_out, $pid, $answering, $credit);
my $rest     = ''; # bytes read but not looked at yet
my $deferred = ''; # frames that came in the middle of a request and wait until it is answered
my $state    = 'settings'; # loading, serving, over

sub run {
    my ($file, $name) = settings();
    say_pairs(HELLO, 1, 'language', 'perl', 'runtime', sprintf('%vd', $^V), 'pid', $$, 'features', 'lane,stream');
    my $start = Time::HiRes::time();
    $state = 'loading';
    my $handle = eval { load($file, $name) };
    if (!$handle) {
        put(error_frame(INIT_ERROR, 0, 0, $@));
        leave(1);
    }
    my ($base) = $file =~ m{([^/]*)\z};
    say_pairs(READY, 1, 'handler', "$base:$name", 'init_ms', sprintf '%.0f', 1000 * (Time::HiRes::time() - $start));
    $state = 'serving';
    serve($handle);
}

# Takes the settings out of the environment, so that neither the handler nor its children see them.
sub settings {
    my %env = map { (/^FNPOD_WORKER_(.*)/s ? ($1 => delete $ENV{$_}) : ()) } keys %ENV;
    $env{$_} = '' for grep { !defined $env{$_} } qw(PROTOCOL FDS HANDLER);
    $env{LANE} = '-1,0,0' unless defined $env{LANE};
    my ($first, $last) = $env{PROTOCOL} =~ /^(\d+)-(\d+)$/;
    my ($from, $to) = $env{FDS} =~ /^(\d+),(\d+)$/;
    (my $memory, $lane_in, $lane_out) = $env{LANE} =~ /^(-?\d+),(\d+),(\d+)$/;
    my ($file, $name) = $env{HANDLER} =~ /^(.+):([^:]*)$/s;
    if (!$first || $first > 1 || !defined $to || !defined $lane_out || !defined $file) {
        print STDERR "fnpod: this file is started by fnpod as a worker, with protocol 1\n";
        leave(1);
    }
    $in   = handle_of($from, '<');
    $out  = $from == $to ? $in : handle_of($to, '>');
    $lane = handle_of($memory, '+<') if $memory >= 0;
    open my $unused, '<&=', 6; # closed at once
    $pid = $$;
    my $before = select STDOUT;
    $| = 1;
    select $before;
    return $file, length $name ? $name : 'handle';
}

sub handle_of {
    my ($fd, $mode) = @_;
    open my $handle, "$mode&=", $fd or do { print STDERR "fnpod: descriptor $fd: $!\n"; leave(1) };
    binmode $handle;
    fcntl $handle, 2, 1; # F_SETFD, FD_CLOEXEC
    return $handle;
}

# Loads the file and returns its handler, after init.
sub load {
    my ($file, $name) = @_;
    my ($folder, $base) = $file =~ m{^(.*?)/?([^/]*)\z}s;
    open my $readable, '<', $file or Fnpod::Error::raise('Unreadable', "cannot read the handler: $!");
    Fnpod::Error::raise('Unreadable', 'cannot read the handler: it is a folder') if -d $readable;
    close $readable;
    unshift @INC, length $folder ? $folder : '/';
    my %before = map { $_ => 1 } functions();
    { package main; do $file } # its functions belong to main
    die $@ if $@;
    my $full = join '::', 'main', split /\./, $name;
    no strict 'refs';
    if (!defined &$full) {
        my $there = join ', ', sort grep { !$before{$_} } functions();
        Fnpod::Error::raise('LookupError', "$base has no function '$name'; it has " . ($there || 'none at all'));
    }
    main::init() if $name ne 'init' && defined &main::init;
    return \&$full;
}

sub functions {
    no strict 'refs';
    return grep { !/::$/ && defined &{"main::$_"} } keys %main::;
}

# What exit means in a handler, in a process that it has forked, and elsewhere.
sub exited {
    my $code = shift;
    CORE::exit($code) if !$pid || $$ != $pid || $state eq 'over';
    Fnpod::Error::raise('exit', "the handler called exit($code)");
}

sub leave {
    $state = 'over';
    CORE::exit($_[0]);
}

# Ends the worker at once: the pipes cannot be trusted any more.
sub stop {
    print STDERR "fnpod worker: $_[0]\n";
    leave(1);
}

# Frames in.

# Returns the next whole request and deals with everything that comes before it.
sub next_request {
    while (1) {
        my ($meta, $size, $kind, $flags, $id, $raw) = frame();
        if ($kind != REQUEST) {
            control($kind);
            next;
        }
        my $req = Fnpod::Request->new($raw, 16 + $meta, $id);
        if ($flags & LANE) {
            $req->{body} = from_lane($size);
        } elsif ($flags & MORE) {
            my $body = eval { gather($id, $req->body) };
            resume();
            if (!defined $body) {
                put(error_frame(ERROR, 500, $id, $@));
                next;
            }
            $req->{body} = $body;
        }
        $answering = $id;
        return $req;
    }
}

# Reads one frame.
sub frame {
    my $data = $rest;
    $rest = '';
    more($data) while length $data < 16;
    my ($meta, $size, $kind, $flags, undef, $id) = unpack HEADER, $data;
    my $inline = $flags & LANE ? 0 : $size;
    stop("frame too long: $meta bytes of meta, $inline of body") if $meta > LIMIT || $inline > LIMIT;
    my $need = 16 + $meta + $inline;
    more($data) while length $data < $need;
    $rest = substr $data, $need, length $data, '' if length $data > $need;
    return $meta, $size, $kind, $flags, $id, $data;
}

# Appends what comes next to its argument.
sub more {
    my $n = sysread $in, $_[0], 65536, length $_[0];
    return if $n || !defined $n && $! == 4; # EINTR
    stop('request pipe ended inside a frame') if length $_[0];
    leave(0);
}

# A frame between two requests. What belongs to a request that is answered already came late and is ignored.
sub control {
    my $kind = shift;
    if ($kind == PING) {
        pong();
    } elsif ($kind == DRAIN) {
        say_pairs(BYE, 0);
        leave(0);
    } elsif ($kind == LEAVE) {
        leave(0);
    } elsif ($kind < 0x80 && !grep { $kind == $_ } DATA, TRAILERS, CANCEL, WINDOW) {
        stop(sprintf 'unknown frame type 0x%02x', $kind);
    }
}

# Collects a body sent in pieces; the parent may send on as pieces are taken.
sub gather {
    my ($id, $body) = @_;
    my $taken = 0;
    while (1) {
        my ($kind, $flags, $data) = own_frame($id) or next;
        if ($kind == DATA) {
            $body .= $data;
            $taken += length $data;
            last unless $flags & MORE;
            if ($taken >= CREDIT / 2) {
                put(pack HEADER . 'V', 0, 4, WINDOW, 0, 0, $id, $taken);
                $taken = 0;
            }
        } elsif ($kind == TRAILERS) {
            last;
        }
    }
    return $body;
}

# Reads one frame; returns it if it belongs to the request: others wait until that is answered.
sub own_frame {
    my $id = shift;
    my ($meta, undef, $kind, $flags, $other, $raw) = frame();
    if ($kind == PING) {
        pong();
    } elsif ($other != $id) {
        $deferred .= $raw;
    } elsif ($kind == CANCEL) {
        Fnpod::Error::raise('cancelled', 'the request was cancelled');
    } elsif ($kind == DATA || $kind == TRAILERS || $kind == WINDOW) {
        return $kind, $flags, substr $raw, 16 + $meta;
    } elsif ($kind < 0x80) {
        stop(sprintf 'unexpected frame type 0x%02x in request %d', $kind, $id);
    }
    return;
}

sub resume {
    $rest = $deferred . $rest;
    $deferred = '';
}

sub pong {
    open my $status, '<', '/proc/self/status' or return;
    my ($kib) = join('', <$status>) =~ /^VmRSS:\s+(\d+)/m;
    say_pairs(PONG, 0, 'rss', 1024 * $kib, 'in_flight', defined $answering ? 1 : 0);
}

sub from_lane {
    my $size = shift;
    stop("body of $size bytes in a lane of $lane_in") if $size > $lane_in;
    sysseek $lane, 0, 0;
    my $body = '';
    while (length $body < $size) {
        sysread $lane, $body, $size - length $body, length $body or stop("lane: $!");
    }
    return $body;
}

# Frames out.

sub put {
    my $n = syswrite $out, $_[0];
    write_all($out, substr $_[0], $n || 0) unless defined $n && $n == length $_[0];
}

sub write_all {
    my ($done, $size) = (0, length $_[1]);
    while ($done < $size) {
        my $n = syswrite $_[0], $_[1], $size - $done, $done;
        stop("pipe: $!") unless defined $n || $! == 4;
        $done += $n || 0;
    }
}

sub say_pairs {
    my ($kind, $code, @pairs) = @_;
    my $meta = join "\0", @pairs;
    put(pack(HEADER, length $meta, 0, $kind, 0, $code, 0) . $meta);
}

# Answers.

# Runs requests one after the other: one read and one write each, as long as they are small and whole.
sub serve {
    my $handle = shift;
    while (1) {
        my ($req, $data);
        if (!length $rest && sysread $in, $data, 65536) {
            my ($end, $size, $kind, $id) = length $data < 16 ? (0, 0, 0) : unpack 'V4', $data; # type, flags and code as one
            $end += 16;
            if ($kind == REQUEST && length $data == $end + $size) {
                $req = bless { raw => $data, end => $end, number => $answering = $id, at => Time::HiRes::time() }, 'Fnpod::Request';
            } else {
                $rest = $data;
            }
        }
        $req ||= next_request();
        my $id = $answering;
        my $well = eval {
            my $result = $handle->($req);
            CORE::exit(0) if $$ != $pid; # a child of the handler must not speak here
            if (defined $result && !ref $result && length $result <= INLINE && !($result =~ tr/\0-\x7f//c)) {
                utf8::downgrade($result);
                my $frame = pack('VVVVa*a*', length TEXT, length $result, RESPONSE | 200 << 16, $id, TEXT, $result);
                my $n = syswrite $out, $frame;
                write_all($out, substr $frame, $n || 0) unless $n && $n == length $frame;
            } else {
                answer($id, $result);
            }
            1;
        };
        if (!$well) {
            my $error = $@;
            CORE::exit(255) if $$ != $pid;
            put(error_frame(ERROR, 500, $id, $error));
        }
        resume() if length $deferred;
        undef $answering;
    }
}

# Sends whatever a handler may return.
sub answer {
    my ($id, $result) = @_;
    my ($status, $pairs) = (undef, []);
    if (is_answer($result)) {
        ($result, $status, $pairs) = ($result->{body}, $result->{status}, pairs($result->{headers}));
    }
    $status = defined $result ? 200 : 204 unless defined $status;
    Fnpod::Error::unusable(a($status) . ' as status; expected an integer') if ref $status || $status !~ /\A[0-9]+\z/;
    Fnpod::Error::unusable("status $status; expected 200 to 599") if $status < 200 || $status > 599;
    my $kind = ref $result;
    if (!defined $result) {
        answer_bytes($id, $status, meta($pairs, ''), '');
    } elsif (!$kind) {
        my ($implied, $bytes) = bytes_of($result);
        answer_bytes($id, $status, meta($pairs, $implied), $bytes);
    } elsif ($kind eq 'SCALAR') {
        my $bytes = $$result;
        Fnpod::Error::unusable('a reference to characters; expected one to bytes') unless utf8::downgrade($bytes, 1);
        answer_bytes($id, $status, meta($pairs, BINARY), $bytes);
    } elsif ($kind eq 'CODE') {
        stream($id, $status, $pairs, $result);
    } elsif ($kind eq 'GLOB' || eval { $result->isa('IO::Handle') }) {
        stream($id, $status, $pairs, sub { my $piece; read($result, $piece, PIECE) ? \$piece : undef });
        close $result;
    } elsif ($kind eq 'HASH' || $kind eq 'ARRAY' || eval { $result->can('TO_JSON') }) {
        answer_bytes($id, $status, meta($pairs, "content-type\0application/json"), encode_json($result));
    } else {
        Fnpod::Error::unusable(a($result) . '; expected a string, undef, a reference to a hash, an array, bytes or code, or a handle');
    }
}

# A hash of status, headers and body, with no other keys, that has a body or an integer as status.
sub is_answer {
    my $value = shift;
    return ref $value eq 'HASH' && %$value && !(grep { !/\A(?:status|headers|body)\z/ } keys %$value)
        && (exists $value->{body} || defined $value->{status} && $value->{status} =~ /\A[0-9]+\z/);
}

# Text and bytes are one type: characters are text, and so are bytes that are UTF-8.
sub bytes_of {
    my $bytes = shift;
    if (utf8::is_utf8($bytes)) {
        utf8::encode($bytes);
        return TEXT, $bytes;
    }
    my $copy = $bytes;
    return utf8::decode($copy) ? TEXT : BINARY, $bytes;
}

sub encode_json {
    my $value = shift;
    require JSON::PP;
    my $json = eval { JSON::PP->new->utf8->canonical->convert_blessed->encode($value) };
    return $json if defined $json;
    my ($why) = $@ =~ /\A(.*?)(?: at .* line \d+\.?)?\s*\z/s;
    Fnpod::Error::unusable(a($value) . " that is not JSON: $why");
}

# Returns checked name, value, name, value of a hash, of pairs or of a flat list; an array as value repeats the name.
sub pairs {
    my $headers = shift;
    return [] unless defined $headers;
    my @list = ref $headers eq 'HASH' ? map { $_ => $headers->{$_} } sort keys %$headers
        : ref $headers eq 'ARRAY' ? map { ref eq 'ARRAY' ? @$_ : $_ } @$headers
        : Fnpod::Error::unusable(a($headers) . ' as headers; expected a reference to a hash');
    my @pairs;
    while (@list) {
        my ($name, $values) = (lc shift @list, shift @list);
        Fnpod::Error::unusable("a header with the name '$name'") unless $name =~ /\A[!#\$%&'*+\-.^_`|~0-9a-z]+\z/;
        for my $value (ref $values eq 'ARRAY' ? @$values : $values) {
            Fnpod::Error::unusable(a($value) . " as header value of $name; expected a string") if !defined $value || ref $value;
            Fnpod::Error::unusable("a line break or NUL in the header $name") if $value =~ /[\r\n\0]/;
            my $bytes = $value;
            utf8::downgrade($bytes, 1) or Fnpod::Error::unusable("a header value of $name with characters beyond latin-1");
            push @pairs, $name, $bytes;
        }
    }
    return \@pairs;
}

# Joins header pairs; the handler's content type wins over the implied one.
sub meta {
    my ($pairs, $implied) = @_;
    return $implied unless @$pairs;
    my @names = @$pairs[grep { !($_ % 2) } 0 .. $#$pairs];
    $implied = '' if grep { $_ eq 'content-type' } @names;
    my $meta = join "\0", (length $implied ? $implied : ()), @$pairs;
    Fnpod::Error::unusable(length($meta) . ' bytes of headers; the limit is ' . LIMIT) if length $meta > LIMIT;
    return $meta;
}

sub answer_bytes {
    my ($id, $status, $meta, $body) = @_;
    my $size = length $body;
    if ($size <= INLINE) {
        put(pack(HEADER, length $meta, $size, RESPONSE, 0, $status, $id) . $meta . $body);
    } elsif ($size <= $lane_out) {
        sysseek $lane, $lane_in, 0;
        write_all($lane, $body);
        put(pack(HEADER, length $meta, $size, RESPONSE, LANE, $status, $id) . $meta);
    } else {
        my (@pairs, @kept) = split /\0/, $meta, -1;
        while (my ($name, $value) = splice @pairs, 0, 2) {
            push @kept, $name, $value unless $name eq 'content-length';
        }
        $credit = CREDIT;
        head($id, $status, join "\0", @kept, 'content-length', $size);
        spend($id, $body);
        finish($id);
    }
}

sub head {
    my ($id, $status, $meta) = @_;
    put(pack(HEADER, length $meta, 0, RESPONSE, MORE, $status, $id) . $meta);
}

sub finish { put(pack HEADER, 0, 0, DATA, 0, 0, $_[0]) }

# Sends data in pieces and waits for the parent where it must.
sub spend {
    my ($id, $data) = @_;
    for (my $at = 0; $at < length $data;) {
        wait_for($id) while $credit <= 0;
        my $n = length($data) - $at;
        $n = PIECE if $n > PIECE;
        $n = $credit if $n > $credit;
        put(pack(HEADER, 0, $n, DATA, MORE, 0, $id) . substr $data, $at, $n);
        $at += $n;
        $credit -= $n;
    }
}

sub wait_for {
    my ($kind, undef, $data) = own_frame($_[0]) or return;
    return unless $kind == WINDOW;
    stop('WINDOW with ' . length($data) . ' bytes') unless length $data == 4;
    $credit += unpack 'V', $data;
}

sub pending {
    return 1 if length $rest;
    vec(my $read = '', fileno $in, 1) = 1;
    return select($read, undef, undef, 0) > 0;
}

# Sends what the code returns, call by call, until undef. The head goes with the first, so that an early error is a 500.
sub stream {
    my ($id, $status, $pairs, $next) = @_;
    my $head = 1;
    $credit = CREDIT;
    while (defined(my $item = $next->())) {
        Fnpod::Error::raise('UnusableResult', 'handler yielded ' . a($item) . '; expected a string') if ref $item && ref $item ne 'SCALAR';
        my ($implied, $bytes) = ref $item ? (BINARY, $$item) : bytes_of($item);
        head($id, $status, meta($pairs, $implied)) if $head;
        $head = 0;
        spend($id, $bytes);
        wait_for($id) while pending();
    }
    return finish($id) unless $head;
    my $meta = meta($pairs, '');
    put(pack(HEADER, length $meta, 0, RESPONSE, 0, $status, $id) . $meta);
}

# Errors.

sub error_frame {
    my ($kind, $code, $id, $error) = @_;
    my ($type, $message) = ref $error eq 'Fnpod::Error' ? @$error{qw(type message)} : (ref $error || 'die', eval { "$error" });
    $message = '(its text failed)' unless defined $message;
    utf8::encode($message) if utf8::is_utf8($message);
    $message =~ s/\s+\z//;
    my $trace = length $message > 8000 ? substr($message, 0, 2000) . "\n[...]\n" . substr($message, -5900) : $message;
    $message =~ s/ at \/.*//s;
    $message = substr($message, 0, 1000) . '...' if length $message > 1000;
    s/\0/\\0/g for $type, $message;
    my $meta = join "\0", 'type', $type, 'message', $message;
    $trace = "$type: $trace\n";
    return pack(HEADER, length $meta, length $trace, $kind, 0, $code, $id) . $meta . $trace;
}

# Names a value with its article.
sub a {
    my $value = shift;
    return 'undef' unless defined $value;
    return "'$value'" unless ref $value;
    return (ref($value) =~ /\A[AEIOU]/ ? 'an ' : 'a ') . ref $value;
}

run();

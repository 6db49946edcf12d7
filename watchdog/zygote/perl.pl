# The Perl side of a zygote: a process that has loaded the modules of a script, and forks for each request. python.py says
# what the commands are. A child ends as any Perl program does, so it tells no exit code.
package Fnpod::Zygote;

sub receive { # a message and the descriptors that came with it
	my ($recvmsg) = @_;
	my ($text, $rights) = ("\0" x 4096, "\0" x 64);
	my $vector = pack('PJ', $text, length $text);
	my $message = pack('JJPJPJJ', 0, 0, $vector, 1, $rights, length $rights, 0);
	my $n = syscall($recvmsg + 0, 3, $message, 0x40000000); # MSG_CMSG_CLOEXEC
	exit_now() if $n <= 0;                                  # fnpod has ended
	my ($length, $level, $type) = unpack('Jii', $rights);
	my @files = $length > 16 ? unpack('x16 i' . (($length - 16) / 4), $rights) : ();
	return (substr($text, 0, $n), @files);
}

sub exit_now { require POSIX; POSIX::_exit(0) }

sub how { # how a child ended, which stays a zombie
	my ($waitid, $pid) = @_;
	my $info = "\0" x 128;
	syscall($waitid + 0, 1, $pid + 0, $info, 0x01000005, 0); # P_PID, WEXITED | WNOHANG | WNOWAIT
	my ($code, $found, undef, $status) = unpack('x8 i x![J] i3', $info);
	return $found ? ($code == 1 ? 'exit' : 'signal') . " $status" : '?';
}

sub place { # where in memory the entry lies by which fnpod knows the descendants of a process
	local $/;
	open(my $environ, '<:raw', '/proc/self/environ') or return 0;
	open(my $stat, '<:raw', '/proc/self/stat') or return 0;
	my $at = index("\0" . <$environ>, "\0FNPOD_CHILD=");
	my ($rest) = <$stat> =~ /\) (.*)/s or return 0;
	return $at < 0 ? 0 : (split ' ', $rest)[47] + $at;
}

sub reopen { # gives a standard stream another descriptor
	my ($stream, $mode, $fd) = @_;
	open($stream, $mode . '&=', $fd) if 0;
	POSIX::dup2($fd, fileno $stream);
	POSIX::close($fd);
}

sub run { # returns the source in a child that has its request
	require POSIX;
	my ($wanted, $recvmsg, $waitid, undef, $script) = splice(@ARGV, 0, 5);
	$0 = $script;
	my $source = do { local $/; open(my $f, '<', $script) or die "$script: $!\n"; <$f> };
	my $data = '';
	$data = $1 if $source =~ s/^__(?:END|DATA)__\r?\n(.*)\z/\n/ms;
	if ($wanted eq 'preload') { # failures are for the script to meet
		while ($source =~ /^use\s+([A-Za-z_][\w:]*)/mg) { my $m = $1; local $@; local $SIG{__DIE__}; eval "require $m" }
	}
	my $place = place();
	POSIX::close(4);
	$| = 1; $| = 0;
	syswrite($control, 'ready 1');
	while (1) {
		my ($command, @files) = receive($recvmsg);
		my ($word, $text) = split / /, $command, 2;
		if ($word eq 'fork') {
			my $pid = fork;
			$pid = -($! + 0) unless defined $pid;
			if ($pid == 0) {
				close $control;
				setpgrp(0, 0);
				if ($place and open(my $memory, '+<:raw', '/proc/self/mem')) {
					sysseek($memory, $place, 0);
					syswrite($memory, $text);
				}
				my ($name, $value) = split /=/, $text, 2;
				$ENV{$name} = $value;
				POSIX::dup2($files[$_], $_ - 1) for 1 .. 3;
				POSIX::close($_) for @files[1 .. 3];
				$status = $files[0];
				open($line, '+<&=', $status);
				my $variables;
				sysread($line, $variables, 1 << 18) or exit_now();
				for (split /\0/, $variables) {
					($name, $value) = split /=/, $_, 2;
					$ENV{$name} = $value;
				}
				srand;
				open(main::DATA, '<', \$data) if $data ne '';
				return "package main;\n#line 1 \"$script\"\n$source";
			}
			setpgrp($pid, $pid) if $pid > 0;
			POSIX::close($_) for @files;
			syswrite($control, $pid);
		} elsif ($word eq 'how') {
			syswrite($control, how($waitid, $text));
		} elsif ($word eq 'end') {
			waitpid($text, 0);
		} else {
			exit_now();
		}
	}
}

our ($status, $line, $control);
open($control, '+<&=', 3);
package main;
$! = 0;
eval Fnpod::Zygote::run();
if ($@) { my $error = $!; $! = $error; die $@ }

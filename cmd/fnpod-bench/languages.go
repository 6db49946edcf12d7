package main

// languages are fnpod with n warm workers of the languages besides Python and Node. Java's is
// compiled when a worker starts, before it is measured.
func languages(n int) []variant {
	var here []variant
	for _, l := range []struct{ name, program, file, text string }{
		{"Ruby", "ruby", "handler.rb", "def handle(req) = 'pong'\n"},
		{"PHP", "php", "handler.php", "<?php function handle($req) { return 'pong'; }\n"},
		{"Perl", "perl", "handler.pl", "sub handle { 'pong' }\n"},
		{"Java", "javac", "Handler.java", "class Handler { static String handle() { return \"pong\"; } }\n"},
	} {
		v := serving(l.name, l.file, l.text, workersOf(n)...)
		v.needs = l.program
		here = append(here, v)
	}
	return here
}

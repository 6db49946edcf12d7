// Package wrapper holds the language side of warm workers: one self-contained program per language that speaks
// the worker protocol on inherited pipes and calls the function's handler.
//
//	python.py           what every start of a Python worker needs
//	python_later.py     most of the rest, compiled on first use
//	python_async.py     the rest, compiled for async handlers
//	python_openfaas.py  handlers of OpenFaaS' templates, only in workers that are started for them
//	python_nuclio.py    handlers of Nuclio, likewise
//	python_kubeless.py  handlers of Kubeless, likewise
//	python_single.py    a request per process, in the place of the loop
//	python_compile.py   a program that compiles all of it, for workers that are started later
//	python_wsgi.py      what the parts for OpenFaaS and Kubeless share
//	node.js             the Node worker
//	node_openfaas.js    as python_openfaas.py
//	node_nuclio.js      as python_nuclio.py
//	node_kubeless.js    as python_kubeless.py
//	node_forms.js       what the parts for OpenFaaS and Kubeless share
//	ruby.rb             the Ruby worker
//	ruby_openfaas.rb    as python_openfaas.py
//	ruby_nuclio.rb      as python_nuclio.py
//	php.php             the PHP worker
//	php_openfaas.php    as python_openfaas.py
//	perl.pl             the Perl worker
//	java/               the Java worker's source, and the interfaces of OpenFaaS and Nuclio, for handlers whose image has them not;
//	                    java.jar is built from it by make java
package wrapper

import (
	_ "embed" // the sources below
	"slices"
	"strconv"
	"strings"
)

// OpenFaaS is how the names of contracts of its templates begin.
const OpenFaaS = "openfaas-"

// Contracts by which a handler can be called.
const (
	Native          = "native"
	OpenFaaSHTTP    = "openfaas-http"    // handle(event, context), in Node with a callback, in Ruby run(body, env), in Java Handle(request)
	OpenFaaSFlask   = "openfaas-flask"   // handle(body), in Python only
	OpenFaaSClassic = "openfaas-classic" // handle(text), and what it prints; in Node with a callback, in Ruby run(text), in PHP handle(text) of a class
	Nuclio          = "nuclio"           // handler(context, event)
	Kubeless        = "kubeless"         // handler(event, context)
)

//go:embed python.py
var pythonCore string

//go:embed python_later.py
var pythonLater string

//go:embed python_async.py
var pythonAsync string

//go:embed python_openfaas.py
var pythonOpenFaaS string

//go:embed python_wsgi.py
var pythonWSGI string

//go:embed python_kubeless.py
var pythonKubeless string

//go:embed python_single.py
var pythonSingle string

//go:embed python_nuclio.py
var pythonNuclio string

//go:embed node.js
var nodeCore string

//go:embed node_forms.js
var nodeForms string

//go:embed node_kubeless.js
var nodeKubeless string

//go:embed node_openfaas.js
var nodeOpenFaaS string

//go:embed node_nuclio.js
var nodeNuclio string

// PythonContracts are the contracts of Python workers.
func PythonContracts() []string {
	return []string{Native, OpenFaaSHTTP, OpenFaaSFlask, OpenFaaSClassic, Nuclio, Kubeless}
}

// Python returns the source of the Python worker for a contract, for Python 3.8 and later; empty if there is none. Run it as
// `python3 FILE` or `python3 -c SOURCE`; it reads its settings from FNPOD_WORKER_* variables and imports nothing but the
// standard library.
func Python(contract string) string {
	if !slices.Contains(PythonContracts(), contract) {
		return ""
	}
	// The parts for later are strings: parsing them at once would double the wrapper's share of the start-up time.
	source := strings.Replace(pythonCore, "\nLATER = \"\"\nASYNC = \"\"\n",
		"\nLATER = "+strconv.QuoteToASCII(pythonLater)+"\nASYNC = "+strconv.QuoteToASCII(pythonAsync)+"\n", 1)
	switch contract {
	case Native:
		return source
	case Nuclio:
		return beforeMain(source, pythonNuclio, "\nmain()\n")
	case Kubeless:
		return beforeMain(source, pythonWSGI+"\n\n"+pythonKubeless, "\nmain()\n")
	default:
		return beforeMain(source, pythonWSGI+"\n\n"+pythonOpenFaaS, "\nmain()\n")
	}
}

// PythonCompiler is a program for `python3 -c` that compiles the source of a Python worker, which it finds at descriptor 6. What it
// writes on descriptor 3 can be run by the same interpreter in the place of that source.
//
//go:embed python_compile.py
var PythonCompiler string

// PythonSingle returns a Python program that answers one request with a handler of a contract, for Python 3.8 and later; empty
// for other contracts than Kubeless. Its standard input and output are described at workers.AppendRequest. It reads its settings
// from FNPOD_WORKER_HANDLER and variables of the contract. Run under another name than __main__ it has the module loaded, and its
// function request is what is left to do.
func PythonSingle(contract string) string {
	if contract != Kubeless {
		return ""
	}
	return strings.TrimSuffix(Python(contract), "\nmain()\n") + "\n" + pythonSingle
}

// NodeContracts are the contracts of Node workers.
func NodeContracts() []string {
	return []string{Native, OpenFaaSHTTP, OpenFaaSClassic, Nuclio, Kubeless}
}

// Node returns the source of the Node worker for a contract, for Node 16 and later; empty if there is none. Run it as
// `node --preserve-symlinks-main FILE`, where FILE may be a link in /proc, or as `node -e SOURCE`; it needs nothing but Node.
func Node(contract string) string {
	if !slices.Contains(NodeContracts(), contract) {
		return ""
	}
	switch contract {
	case Native:
		return nodeCore
	case Nuclio:
		return beforeMain(nodeCore, nodeNuclio, "\nmain();\n")
	case Kubeless:
		return beforeMain(nodeCore, nodeForms+"\n"+nodeKubeless, "\nmain();\n")
	default:
		return beforeMain(nodeCore, nodeForms+"\n"+nodeOpenFaaS, "\nmain();\n")
	}
}

//go:embed ruby.rb
var rubyCore string

//go:embed ruby_openfaas.rb
var rubyOpenFaaS string

//go:embed ruby_nuclio.rb
var rubyNuclio string

// RubyContracts are the contracts of Ruby workers.
func RubyContracts() []string { return []string{Native, OpenFaaSHTTP, OpenFaaSClassic, Nuclio} }

// Ruby returns the source of the Ruby worker for a contract, for Ruby 2.7 and later; empty if there is none. Run it as
// `ruby FILE`, where FILE may be a link in /proc; it needs nothing but Ruby's standard library.
func Ruby(contract string) string {
	const call = "\nFnpod::Worker.new.run\n"
	switch contract {
	case Native:
		return rubyCore
	case OpenFaaSHTTP, OpenFaaSClassic:
		return beforeMain(rubyCore, rubyOpenFaaS, call)
	case Nuclio:
		return beforeMain(rubyCore, rubyNuclio, call)
	default:
		return ""
	}
}

//go:embed php.php
var phpCore string

//go:embed php_openfaas.php
var phpOpenFaaS string

// PHPContracts are the contracts of PHP workers.
func PHPContracts() []string { return []string{Native, OpenFaaSClassic} }

// PHP returns the source of the PHP worker for a contract, for PHP 7.4 and later; empty if there is none. Run it as
// `php FILE`, where FILE may be a link in /proc; it needs no extension.
func PHP(contract string) string {
	switch contract {
	case Native:
		return phpCore
	case OpenFaaSClassic:
		load := strings.LastIndex(phpCore, "\n// The file is loaded here")
		return phpCore[:load] + "\n" + phpOpenFaaS + phpCore[load:]
	default:
		return ""
	}
}

//go:embed perl.pl
var perl string

// Perl returns the source of the Perl worker, for Perl 5.10 and later; empty for another contract than Native. Run it as
// `perl FILE`, where FILE may be a link in /proc; it needs modules that come with Perl, JSON::PP only if a function does.
func Perl(contract string) string { return onlyNative(perl, contract) }

//go:embed java.jar
var java string

// JavaContracts are the contracts of Java workers.
func JavaContracts() []string { return []string{Native, OpenFaaSHTTP, Nuclio} }

// Java returns the Java worker as a jar, for Java 11 and later, which is the same for each contract; empty if there is none.
// Run it as `java -jar FILE`, where FILE may be a link in /proc. It runs jars, and files of source where there is a JDK.
func Java(contract string) string {
	if !slices.Contains(JavaContracts(), contract) {
		return ""
	}
	return java
}

func onlyNative(source, contract string) string {
	if contract != Native {
		return ""
	}
	return source
}

// beforeMain puts the part for a contract before the call, in the last line, that starts the worker.
func beforeMain(core, part, call string) string {
	return strings.TrimSuffix(core, call) + "\n" + part + call
}

package watchdog_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// playFunction plays the functions of Fork: a request is standard input, an answer standard output.
func playFunction(role string, args []string) int {
	switch role {
	case "cat":
		if _, err := io.Copy(os.Stdout, os.Stdin); err != nil {
			return 1
		}
	case "pid": // its pid, which it knows before its request, and the request
		fmt.Print(os.Getpid(), " ")
		if _, err := io.Copy(os.Stdout, os.Stdin); err != nil {
			return 1
		}
	case "count": // the bytes of the request, after a line for the log
		n, err := io.Copy(io.Discard, os.Stdin)
		fmt.Fprintln(os.Stderr, "read", n, err)
		fmt.Print(n)
	case "variables":
		env := os.Environ()
		slices.Sort(env)
		fmt.Print(strings.Join(env, "\n"))
	case "deaf": // answers without a look at its request
		os.Stdin.Close()
		fmt.Print("deaf")
	case "fail": // prints, then exits with a code; "-" prints nothing
		if args[0] != "-" {
			fmt.Print(args[0])
		}
		code, _ := strconv.Atoi(args[1])
		return code
	case "begin": // prints, and fails when its input ends
		fmt.Print("begun")
		_, _ = io.Copy(io.Discard, os.Stdin)
		return 3
	case "mix": // writes to both streams in turns, and fails with a code
		for i := range 3 {
			fmt.Fprintln(os.Stdout, "out", i)
			fmt.Fprintln(os.Stderr, "err", i)
		}
		code, _ := strconv.Atoi(args[0])
		return code
	case "die":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "zeros": // many bytes
		n, _ := strconv.ParseInt(args[0], 10, 64)
		if _, err := io.Copy(os.Stdout, io.LimitReader(repeat(0), n)); err != nil {
			return 1
		}
	case "noise": // a long line and many short ones for the log, then an answer
		n, _ := strconv.ParseInt(args[0], 10, 64)
		_, _ = io.Copy(os.Stderr, io.LimitReader(repeat('x'), n))
		w := bufio.NewWriter(os.Stderr)
		for range 1000 {
			_, _ = w.WriteString("\nline")
		}
		_ = w.Flush()
		fmt.Print("quiet")
	case "leave": // leaves a process behind that holds our output, and one that left the group; with an argument it waits
		spawnWith([]uintptr{0, 1, 2}, "wait-quietly", nil, false)
		spawnWith([]uintptr{0, 1, 2}, "wait-quietly", nil, true)
		fmt.Print("left")
		if len(args) > 0 {
			select {}
		}
	case "wait-quietly":
		signal.Ignore(syscall.SIGTERM)
		select {}
	case "stubborn": // does not end on SIGTERM, and tells its pid as the answer
		signal.Ignore(syscall.SIGTERM)
		fmt.Print(os.Getpid())
		select {}
	case "parent": // waits together with a child
		spawnWith([]uintptr{0, 1, 2}, "stubborn", nil, false)
		select {}
	case "slow": // reads when it may, whatever it is told, and tells of the end and of what is not zero
		signal.Ignore(syscall.SIGTERM)
		fmt.Fprintln(os.Stderr, "here")
		f, err := os.Open(args[0]) // a FIFO: waits for its writer
		if err != nil {
			return 1
		}
		_, _ = io.Copy(io.Discard, f)
		buf := make([]byte, 4096)
		for {
			n, err := os.Stdin.Read(buf)
			if strings.Trim(string(buf[:n]), "\x00") != "" {
				fmt.Fprintln(os.Stderr, "bytes of another request")
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, "the end", err)
				select {}
			}
		}
	case "late": // reads its request, says so in the log, and ends when the file is there
		_, _ = io.Copy(io.Discard, os.Stdin)
		fmt.Fprintln(os.Stderr, "got it")
		f, err := os.Open(args[0]) // a FIFO: waits for its writer
		if err != nil {
			return 1
		}
		_, _ = io.Copy(io.Discard, f)
		fmt.Fprintln(os.Stderr, "finished")
		fmt.Print("nobody reads this")
	default:
		return 98
	}
	return 0
}

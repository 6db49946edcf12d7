package e2e_test

import "flag"

// soak asks for the full sizes: make soak.
var soak = flag.Bool("soak", false, "full sizes instead of those for every day")

// full is a size for every day, and its full version.
func full(everyday, soaking int) int {
	if *soak {
		return soaking
	}
	return everyday
}

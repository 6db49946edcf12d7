package main

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBucketsFollowEachOtherWithoutGaps(t *testing.T) {
	for i := range 2000 {
		low, next := boundOf(i), boundOf(i+1)
		require.Less(t, low, next)
		require.Equal(t, i, bucketOf(low))
		require.Equal(t, i, bucketOf(next-1))
		require.Equal(t, i+1, bucketOf(next))
	}
	var h histogram
	require.Less(t, bucketOf(1<<64-1), len(h.counts))
}

func TestQuantilesAreThoseOfTheSortedValues(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var h histogram
	var all []time.Duration
	for range 10_000 {
		d := time.Duration(random.ExpFloat64() * float64(time.Millisecond))
		all = append(all, d)
		h.add(d)
	}
	slices.Sort(all)
	for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 0.999} {
		require.InEpsilon(t, all[int(q*float64(len(all)))-1], h.quantile(q), 0.02, "quantile %v", q)
	}
}

func TestQuantilesOfFewValues(t *testing.T) {
	var h histogram
	require.Zero(t, h.quantile(0.5))
	h.add(-time.Second) // a clock that was set back
	h.add(10)
	h.add(20)
	require.Equal(t, []time.Duration{0, 10, 20, 20}, []time.Duration{h.quantile(0), h.quantile(0.5), h.quantile(0.99), h.quantile(1)})
}

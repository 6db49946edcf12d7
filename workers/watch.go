package workers

import (
	"context"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	// watchEvery is the pause between two looks at the function's files. Looking works wherever files come from:
	// notifications do not come from folders that are mounted into a virtual machine, or over a network.
	watchEvery = 100 * time.Millisecond
	// watchShare bounds the time that looking takes: a large folder is looked at less often.
	watchShare = 20
	// mostWatched bounds the files that are looked at.
	mostWatched = 10_000
)

// neverWatched are folders with code of others, which changes in bursts, and what interpreters leave.
var neverWatched = []string{"node_modules", "__pycache__", "vendor", "venv", "site-packages"}

// watch has the pool reload the function when its files have changed and are at rest.
func (p *Pool) watch(ctx context.Context) {
	looked := time.Now()
	current := p.cfg.Handler.fingerprint()
	last := current
	for {
		t := time.NewTimer(max(watchEvery, watchShare*time.Since(looked)))
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		looked = time.Now()
		now := p.cfg.Handler.fingerprint()
		atRest := now == last
		last = now
		if atRest && now != current && now != 0 {
			current = now
			p.Reload()
		}
	}
}

// fingerprint is a number that changes with the files of the function: those of its language in its folder and below, or
// the program itself. It is 0 while the handler's file is not there, as for a moment when an editor replaces it.
func (h Handler) fingerprint() uint64 {
	sum := fnv.New64a()
	add := func(path string, info fs.FileInfo) {
		inode := uint64(0)
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			inode = st.Ino
		}
		var b []byte
		b = append(b, path...)
		for _, n := range [...]uint64{uint64(info.Size()), uint64(info.ModTime().UnixNano()), inode} { //nolint:gosec // only bits
			for range 8 {
				b = append(b, byte(n))
				n >>= 8
			}
		}
		_, _ = sum.Write(b) // never fails
	}
	info, err := os.Stat(h.File)
	if err != nil {
		return 0
	}
	add(h.File, info)
	l := h.language()
	if l == nil || len(l.watched) == 0 {
		return sum.Sum64()
	}
	files, root := 0, filepath.Dir(h.File)
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error { // what cannot be read is not watched
		name := filepath.Base(path)
		switch {
		case err != nil:
			return nil
		case d.IsDir() && path != root && (name[0] == '.' || slices.Contains(neverWatched, name)):
			return fs.SkipDir
		case d.IsDir() || name[0] == '.' || !slices.Contains(l.watched, filepath.Ext(name)):
			return nil
		}
		if files++; files > mostWatched {
			return fs.SkipAll
		}
		if info, err := os.Stat(path); err == nil { // the file behind a link: a mounted ConfigMap consists of those
			add(strings.TrimPrefix(path, root), info)
		}
		return nil
	})
	return sum.Sum64()
}

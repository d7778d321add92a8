package accounts

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/chatwize-exporter/chatwize_exporter/internal/setting"
)

// maxHangingReads is the maximum number of reads of a file that hang. Further calls wait for
// the last of them.
const maxHangingReads = 8

// Reads are the reads of files that are under way, over all reloads. Each holds a thread, so
// those that hang must be few, whatever the number of callers that leave. The zero value has
// none. It is safe for concurrent use.
type Reads struct {
	mutex sync.Mutex
	files map[string]*fileReads
}

// fileReads are the reads of a file that are under way.
type fileReads struct {
	running int
	current *read // for further callers; nil: they read anew
}

// read is a read of a file.
type read struct {
	done    chan struct{} // closed when the rest is set
	content string
	err     error
}

// bounded returns a function that calls f, which reads a file, but returns when its context
// ends. A read may hang, as on a network file system. The next call reads anew, as the file may
// be another.
func (r *Reads) bounded(file string, f func() (string, error)) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		read := r.join(file, f)
		select {
		case <-read.done:
			return read.content, read.err
		case <-ctx.Done():
			r.leave(file, read)
			if errors.Is(ctx.Err(), context.Canceled) {
				return "", fmt.Errorf("reading the file was interrupted: %w", context.Cause(ctx))
			}
			return "", fmt.Errorf("the file was not read in time: %w", context.Cause(ctx))
		}
	}
}

// join returns the read of a file that further callers share, or begins one.
func (r *Reads) join(file string, f func() (string, error)) *read {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.files == nil {
		r.files = map[string]*fileReads{}
	}
	reads := r.files[file]
	if reads == nil {
		reads = &fileReads{}
		r.files[file] = reads
	}
	if reads.current == nil {
		next := &read{done: make(chan struct{})}
		reads.current = next
		reads.running++
		go func() {
			next.content, next.err = f()
			r.end(file, reads, next)
			close(next.done) // the next caller already reads anew
		}()
	}
	return reads.current
}

// end forgets a read that has ended.
func (r *Reads) end(file string, reads *fileReads, ended *read) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if reads.current == ended {
		reads.current = nil
	}
	if reads.running--; reads.running == 0 {
		delete(r.files, file)
	}
}

// leave makes the next caller read a file anew, unless too many reads hang.
func (r *Reads) leave(file string, left *read) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if reads := r.files[file]; reads != nil && reads.current == left && reads.running < maxHangingReads {
		reads.current = nil
	}
}

// key returns a function that reads an API key; see [FileKey].
func (r *Reads) key(file string) func(context.Context) (string, error) {
	return r.bounded("key "+file, func() (string, error) { return readKey(file) })
}

// file returns a function that reads a file of settings.
func (r *Reads) file(path string) func(context.Context) (string, error) {
	return r.bounded("file "+path, func() (string, error) {
		content, err := setting.ReadFile(path)
		return string(content), err
	})
}

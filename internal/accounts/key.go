package accounts

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/singleflight"

	"github.com/chatwize-exporter/chatwize_exporter/internal/setting"
)

// FileKey returns a function that reads the API key from a file, each time anew so
// that the key can be rotated. Its errors do not quote the file or its name, which may
// be a key in the wrong place.
func FileKey(file string) func(context.Context) (string, error) {
	return bounded(func() (string, error) { return readKey(file) })
}

// maxHangingReads is the maximum number of reads that hang. Further calls wait for the
// last of them.
const maxHangingReads = 8

// boundedFile returns a function that reads a file of settings, but returns when its context
// ends.
func boundedFile(path string) func(context.Context) (string, error) {
	return bounded(func() (string, error) {
		content, err := setting.ReadFile(path)
		return string(content), err
	})
}

// bounded returns a function that calls read, but returns when its context ends. A read may
// hang, as on a network file system; the next call reads anew, as the file may be another.
func bounded(read func() (string, error)) func(context.Context) (string, error) {
	var reads singleflight.Group
	var running atomic.Int32
	return func(ctx context.Context) (string, error) {
		result := reads.DoChan("", func() (any, error) {
			running.Add(1)
			defer running.Add(-1)
			return read()
		})
		select {
		case result := <-result:
			return result.Val.(string), result.Err
		case <-ctx.Done():
			if running.Load() < maxHangingReads {
				reads.Forget("")
			}
			if errors.Is(ctx.Err(), context.Canceled) {
				return "", fmt.Errorf("reading the file was interrupted: %w", context.Cause(ctx))
			}
			return "", fmt.Errorf("the file was not read in time: %w", context.Cause(ctx))
		}
	}
}

// readKey reads the API key from a file.
func readKey(file string) (string, error) {
	const maxSize = 64 << 10 // bytes
	if info, err := os.Stat(file); err == nil && !info.IsDir() && (!info.Mode().IsRegular() || info.Size() > maxSize) {
		return "", errors.New("is not a small regular file; name a file that holds the API key")
	}
	content, err := setting.ReadFile(file)
	if pathError := (*fs.PathError)(nil); errors.As(err, &pathError) {
		hint := "name a file that holds the API key"
		if errors.Is(err, fs.ErrPermission) {
			hint = "let the user of the exporter read it"
		}
		return "", fmt.Errorf("the file cannot be read: %w; %s", pathError.Err, hint)
	}
	if err != nil {
		return "", err
	}
	return checked(trimmed(string(content)))
}

// trimmed returns text without white space around it, and without the byte order mark that
// some editors write at the start of a file.
func trimmed(text string) string {
	return strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(text), "\ufeff"))
}

// InlineKey returns a function that returns key, without white space and a byte order mark
// around it.
func InlineKey(key string) func(context.Context) (string, error) {
	key = trimmed(key)
	return func(context.Context) (string, error) { return checked(key) }
}

// checked returns a key, or an error if it cannot be sent in an HTTP header. The error
// does not quote it.
func checked(key string) (string, error) {
	if key == "" {
		return "", errors.New("holds no API key; write the key, and nothing else, there")
	}
	if strings.HasPrefix(key, "CHATWIZE_TOKEN=") {
		return "", errors.New("holds an assignment to CHATWIZE_TOKEN; write the API key alone")
	}
	if quote := key[0]; (quote == '"' || quote == '\'') && key[len(key)-1] == quote {
		return "", errors.New("holds the API key in quotes; remove the quotes")
	}
	for _, c := range []byte(key) {
		if c <= ' ' || c > '~' {
			return "", errors.New("holds more than an API key, which is one word of ASCII letters, digits and signs; write the key, and nothing else, there")
		}
	}
	return key, nil
}

package accounts

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/chatwize-exporter/chatwize_exporter/internal/setting"
)

// FileKey returns a function that reads the API key from a file, each time anew so
// that the key can be rotated. Its errors do not quote the file or its name, which may
// be a key in the wrong place.
func FileKey(file string) func(context.Context) (string, error) {
	return new(Reads).key(file)
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

package settings

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/prometheus/common/config"
)

// TokenVariable is the environment variable that may hold the API key. There is
// no flag for it, on purpose: a flag shows in the list of processes.
const TokenVariable = "CHATWIZE_TOKEN"

// Key returns the way to the API key, from a file or else as given in the
// environment, and makes sure that it works. A file is read again for each use.
func Key(ctx context.Context, file, token string) (func(context.Context) (string, error), error) {
	const flag = "--chatwize.token-file (CHATWIZE_TOKEN_FILE)"
	if file != "" && token != "" {
		return nil, fmt.Errorf("there are two API keys: give either %s or %s", flag, TokenVariable)
	}
	if file == "" && token == "" {
		return nil, fmt.Errorf("there is no API key: put it in a file and name that with %s, or set %s", flag, TokenVariable)
	}
	source, secret := flag, config.SecretReader(config.NewFileSecret(file))
	if file == "" {
		source, secret = TokenVariable, config.NewInlineSecret(strings.TrimSpace(token))
	}
	read := func(ctx context.Context) (string, error) {
		if err := checkFile(file); err != nil {
			return "", fmt.Errorf("%s: %w", source, err)
		}
		key, err := secret.Fetch(ctx)
		if err == nil {
			err = checkKey(key)
		}
		if pathError := (*fs.PathError)(nil); errors.As(err, &pathError) {
			err = fmt.Errorf("the file cannot be read: %w; name a file that holds the API key", pathError.Err)
		}
		if err != nil {
			return "", fmt.Errorf("%s: %w", source, err)
		}
		return key, nil
	}
	_, err := read(ctx)
	return read, err
}

// checkFile returns an error where reading a file may take for ever or hold more
// than a key. That it cannot be read, reading it says.
func checkFile(file string) error {
	const largest = 64 << 10
	info, err := os.Stat(file)
	if err == nil && !info.IsDir() && (!info.Mode().IsRegular() || info.Size() > largest) {
		return errors.New("is not a small regular file; name one that holds the API key")
	}
	return nil
}

// checkKey returns an error where a key cannot be sent in an HTTP header. The
// error does not quote it.
func checkKey(key string) error {
	if key == "" {
		return errors.New("holds no API key; put the key there and nothing else")
	}
	for _, c := range []byte(key) {
		if c <= ' ' || c > '~' {
			return errors.New("holds more than an API key, which is one word of plain letters, digits and signs; put the key there and nothing else")
		}
	}
	return nil
}

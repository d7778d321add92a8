package setting

import (
	"errors"
	"io"
	"os"
)

// maxFileSize is the maximum size of a file of settings in bytes. A thousand accounts with ten
// chatbots each take less than 1 MiB.
const maxFileSize = 16 << 20

var errNoFile = errors.New("not a regular file of up to 16 MiB")

// ReadFile reads a file of settings. It refuses what may block or never end, such as a pipe,
// and files of more than 16 MiB.
func ReadFile(path string) ([]byte, error) {
	if !IsSmallFile(path) {
		return nil, errNoFile
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	// Files of the kernel have no size, and others may grow.
	content, err := io.ReadAll(io.LimitReader(file, maxFileSize+1))
	if err == nil && len(content) > maxFileSize {
		err = errNoFile
	}
	return content, err
}

// IsSmallFile reports whether path is a regular file of up to 16 MiB. It also does for a
// folder and a file that cannot be accessed, as reading these fails with a better error.
func IsSmallFile(path string) bool {
	info, err := os.Stat(path)
	return err != nil || info.IsDir() || info.Mode().IsRegular() && info.Size() <= maxFileSize
}

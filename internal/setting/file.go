package setting

import (
	"errors"
	"os"
)

// maxFileSize is the maximum size of a file of settings in bytes. A thousand accounts with ten
// chatbots each take less than 1 MiB.
const maxFileSize = 16 << 20

// ReadFile reads a file of settings. It refuses what may block or never end, such as a pipe,
// and files of more than 16 MiB.
func ReadFile(path string) ([]byte, error) {
	if !IsSmallFile(path, maxFileSize) {
		return nil, errors.New("not a regular file of up to 16 MiB")
	}
	return os.ReadFile(path)
}

// IsSmallFile reports whether reading a file neither blocks nor reads more than a number of
// bytes. It also does for a folder and a file that cannot be accessed, as reading these fails
// with a better error.
func IsSmallFile(path string, maxSize int64) bool {
	info, err := os.Stat(path)
	return err != nil || info.IsDir() || info.Mode().IsRegular() && info.Size() <= maxSize
}

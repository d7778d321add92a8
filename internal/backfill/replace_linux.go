package backfill

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// checkReplaceable returns an error if no other file can be renamed to the existing one
// at path.
func checkReplaceable(path string) error {
	// A file can be mounted from the same file system, so comparing devices is not enough.
	var info unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, 0, &info)
	if err == nil && info.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		return errors.New("is a mount point, which cannot be replaced (mount its folder instead)")
	}
	// Renaming a folder to a file always fails. The kernel first checks the permission to
	// replace the file: the folder may be sticky, or the file immutable.
	folder := temporaryName(path)
	if err := os.Mkdir(folder, 0o700); err != nil {
		return err
	}
	defer func() { _ = os.Remove(folder) }()
	if err := os.Rename(folder, path); !errors.Is(err, unix.ENOTDIR) {
		return err
	}
	return nil
}

package backfill

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// File is a file that is written as a whole or not at all: a temporary file in the same
// folder, renamed when it is complete.
type File struct {
	file *os.File
	path string
	kept bool
}

// Create creates a File for path. A file at path is kept until Keep, which keeps its mode.
// What would make Keep fail is an error here, as far as it can be known.
func Create(path string) (*File, error) {
	if existing, err := os.Stat(path); err == nil && !existing.Mode().IsRegular() {
		return nil, errors.New("is not a regular file") // where its links lead may be no path
	}
	path = followed(path)
	existing, err := os.Stat(path)
	exists := err == nil
	if !exists && !errors.Is(err, fs.ErrNotExist) {
		return nil, unquoted(err)
	}
	if exists {
		if err := checkExisting(path, existing); err != nil {
			return nil, unquoted(err)
		}
	}
	// Only the owner can read files of os.CreateTemp.
	temporary, err := os.OpenFile(temporaryName(path), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, unquoted(err)
	}
	file := &File{file: temporary, path: path}
	if exists {
		if err := temporary.Chmod(existing.Mode().Perm()); err != nil {
			file.Discard()
			return nil, unquoted(err)
		}
	}
	return file, nil
}

// checkExisting returns an error if no other file can replace the one at path.
func checkExisting(path string, existing fs.FileInfo) error {
	if existing.Mode().Perm()&0o222 == 0 {
		return errors.New("is read-only") // on Windows, it cannot be replaced
	}
	return checkReplaceable(path)
}

// followed returns where the symbolic links at path lead, even if there is no file.
func followed(path string) string {
	const maxLinks = 40 // as in Linux; os.Stat fails with more
	for range maxLinks {
		if target, err := filepath.EvalSymlinks(path); err == nil {
			return target
		}
		target, err := os.Readlink(path)
		if err != nil {
			return path
		}
		if !filepath.IsAbs(target) {
			folder, err := filepath.EvalSymlinks(filepath.Dir(path))
			if err != nil {
				return path
			}
			target = filepath.Join(folder, target)
		}
		path = target
	}
	return path
}

// temporaryName returns the name of a new file in the folder of path. It does not contain
// the name at path, which may be as long as the file system allows.
func temporaryName(path string) string {
	return filepath.Join(filepath.Dir(path), "backfill."+rand.Text()+".tmp")
}

// Keep syncs the file to the disk and renames it to its path.
func (f *File) Keep() error {
	if err := f.file.Sync(); err != nil {
		return unquoted(err)
	}
	if err := f.file.Close(); err != nil {
		return unquoted(err)
	}
	if err := os.Rename(f.file.Name(), f.path); err != nil {
		return unquoted(err)
	}
	f.kept = true
	return nil
}

// Discard removes the file, unless Keep succeeded.
func (f *File) Discard() {
	if !f.kept {
		_ = f.file.Close()
		_ = os.Remove(f.file.Name())
	}
}

// Write writes to the file. Like all errors of File, its errors do not quote the path.
func (f *File) Write(p []byte) (int, error) {
	n, err := f.file.Write(p)
	return n, unquoted(err)
}

// unquoted returns an error without the path in it.
func unquoted(err error) error {
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		return path.Err
	case errors.As(err, &link):
		return link.Err
	}
	return err
}

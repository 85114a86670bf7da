package main

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// A result is what stood at the path once the task had ended.
type result struct {
	bytes []byte
	size  int64
	loss  state // why bytes are not the file; empty when they are
	why   string
}

// errNotRegular is for what the OS would open without complaint: pipes, devices.
var errNotRegular = errors.New("not a regular file")

// readResult reads the file once. Every way in which it cannot be had is a result as well.
func readResult(path string, maxBytes int64) result {
	read, size, err := readFile(path, maxBytes)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return result{loss: stateMissing}
	case err != nil:
		return unreadableBecause(err)
	case size > maxBytes:
		return result{loss: stateTooLarge, size: size}
	}
	return result{bytes: read, size: size}
}

func unreadableBecause(err error) result {
	return result{loss: stateUnreadable, why: words(err).Error()}
}

// readFile returns the bytes and how many there are; of a file that is too large, no bytes and at least
// maxBytes+1.
func readFile(path string, maxBytes int64) ([]byte, int64, error) {
	file, err := openInside(filepath.Split(filepath.Clean(path)))
	if err != nil {
		return nil, 0, err
	}
	defer file.Close()

	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, 0, err
	case info.IsDir():
		return nil, 0, syscall.EISDIR
	case !info.Mode().IsRegular():
		return nil, 0, errNotRegular
	case info.Size() > maxBytes:
		return nil, info.Size(), nil
	}

	// Another process may still be writing, so the size just seen is a hint and the limit is enforced on the bytes.
	var read bytes.Buffer
	read.Grow(int(info.Size()) + bytes.MinRead)
	size, err := read.ReadFrom(io.LimitReader(file, maxBytes+1))
	if err != nil {
		return nil, 0, err
	}
	if size > maxBytes {
		return nil, size, nil
	}
	return read.Bytes(), size, nil
}

// openInside opens a file that the task controls, with rights that the task may not have: this process can be
// root, and sees a file system of its own. So a link is followed only while it stays in the directory, and a
// pipe must not hold the process until a writer comes.
func openInside(directory, name string) (*os.File, error) {
	directory, err := filepath.Abs(directory)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(directory)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.OpenFile(followAbsolute(root, directory, name), os.O_RDONLY|syscall.O_NONBLOCK, 0)
}

// followAbsolute resolves absolute links that lead back into the directory, as `ln -s $PWD/a $PWD/return.json`
// makes them: os.Root refuses absolute links wherever they lead. It decides nothing; what it returns is opened
// inside the root like any other name.
func followAbsolute(root *os.Root, directory, name string) string {
	const mostLinks = 8
	for range mostLinks {
		target, err := root.Readlink(name)
		if err != nil || !filepath.IsAbs(target) {
			return name
		}
		inside, err := filepath.Rel(directory, target)
		if err != nil {
			return name
		}
		name = inside
	}
	return name
}

// words takes what the OS said out of Go's "openat return.json: permission denied": the name of a system call
// does not help a reader, and the controller knows the path.
func words(err error) error {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return pathError.Err
	}
	return err
}

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestReadResult(t *testing.T) {
	const limit = 100
	content := []byte("the result")

	cases := map[string]struct {
		lay  func(t *testing.T, directory string)
		path string // return.json in the directory where empty
		want result
	}{
		"a file":             {lay: file("return.json", content), want: found(content)},
		"an empty file":      {lay: file("return.json", nil), want: found(nil)},
		"at the limit":       {lay: file("return.json", random(limit)), want: found(random(limit))},
		"over the limit":     {lay: file("return.json", random(limit+1)), want: result{loss: stateTooLarge, size: limit + 1}},
		"larger than memory": {lay: sparse("return.json", 1<<34), want: result{loss: stateTooLarge, size: 1 << 34}},
		"more than fstat says": { // a file of /proc says 0
			lay: nothing, path: "/proc/kallsyms", want: result{loss: stateTooLarge, size: limit + 1},
		},

		"no file":      {lay: nothing, want: result{loss: stateMissing}},
		"no directory": {lay: nothing, path: "absent/return.json", want: result{loss: stateMissing}},
		"a link to nothing": {
			lay: link("absent.json", "return.json"), want: result{loss: stateMissing},
		},

		"a link beside it": {
			lay: both(file("real.json", content), link("real.json", "return.json")), want: found(content),
		},
		"a link into a folder": {
			lay: both(file("folder/real.json", content), link("folder/real.json", "return.json")), want: found(content),
		},
		"an absolute link beside it": {
			lay: both(file("real.json", content), link("{}/real.json", "return.json")), want: found(content),
		},
		"an absolute link out": {
			lay: link("/etc/passwd", "return.json"), want: unreadable("path escapes from parent"),
		},
		"an absolute link out, by way of the directory": {
			lay: link("{}/../../etc/passwd", "return.json"), want: unreadable("path escapes from parent"),
		},
		"a relative link out": {
			lay: both(file("../secret", content), link("../secret", "return.json")), want: unreadable("path escapes from parent"),
		},
		"a link to a link out": {
			lay: both(link("/etc", "folder"), link("{}/folder/passwd", "return.json")), want: unreadable("path escapes from parent"),
		},
		"a link to itself": {
			lay: link("return.json", "return.json"), want: unreadable("too many levels of symbolic links"),
		},
		"an absolute link to itself": {
			lay: link("{}/return.json", "return.json"), want: unreadable("path escapes from parent"),
		},

		"a directory":          {lay: file("return.json/file", content), want: unreadable("is a directory")},
		"a file for directory": {lay: file("folder", content), path: "folder/return.json", want: unreadable("not a directory")},
		"a pipe without a writer": {
			lay: pipe("return.json"), want: unreadable("not a regular file"),
		},
		"a link to a pipe": {
			lay: both(pipe("pipe"), link("pipe", "return.json")), want: unreadable("not a regular file"),
		},
		"a device":     {lay: nothing, path: "/dev/zero", want: unreadable("not a regular file")},
		"a read error": {lay: nothing, path: "/proc/self/mem", want: unreadable("input/output error")},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			directory := filepath.Join(t.TempDir(), "xcom")
			if err := os.Mkdir(directory, 0o755); err != nil {
				t.Fatal(err)
			}
			test.lay(t, directory)
			path := filepath.Join(directory, "return.json")
			switch {
			case filepath.IsAbs(test.path):
				path = test.path
			case test.path != "":
				path = filepath.Join(directory, test.path)
			}

			got := make(chan result, 1)
			go func() { got <- readResult(path, limit) }()
			select {
			case got := <-got:
				if got.loss != test.want.loss || got.why != test.want.why || got.size != test.want.size || !bytes.Equal(got.bytes, test.want.bytes) {
					t.Errorf("read %+v, want %+v", got, test.want)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("reading does not end")
			}
		})
	}
}

func TestReadResultOfARelativePath(t *testing.T) {
	directory := t.TempDir()
	both(file("real.json", []byte("{}")), link("{}/real.json", "return.json"))(t, directory)
	t.Chdir(directory)
	if got := readResult("return.json", 100); string(got.bytes) != "{}" {
		t.Errorf("read %+v", got)
	}
}

func unreadable(why string) result { return result{loss: stateUnreadable, why: why} }

// What follows lays out a directory as a task may leave it. In a link's target {} stands for the directory.

func nothing(*testing.T, string) {}

func both(first, second func(*testing.T, string)) func(*testing.T, string) {
	return func(t *testing.T, directory string) {
		first(t, directory)
		second(t, directory)
	}
}

func file(name string, content []byte) func(*testing.T, string) {
	return func(t *testing.T, directory string) {
		path := filepath.Join(directory, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, content, 0o644))
	}
}

func sparse(name string, size int64) func(*testing.T, string) {
	return func(t *testing.T, directory string) {
		file(name, nil)(t, directory)
		must(t, os.Truncate(filepath.Join(directory, name), size))
	}
}

func link(target, name string) func(*testing.T, string) {
	return func(t *testing.T, directory string) {
		must(t, os.Symlink(strings.ReplaceAll(target, "{}", directory), filepath.Join(directory, name)))
	}
}

func pipe(name string) func(*testing.T, string) {
	return func(t *testing.T, directory string) {
		must(t, syscall.Mkfifo(filepath.Join(directory, name), 0o644))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

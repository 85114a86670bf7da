//go:build linux

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// binary is what the image holds, built as README.md says.
var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		directory, err := os.MkdirTemp("", "sidecar")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(directory)
		// Other users run it too.
		if err := os.Chmod(directory, 0o755); err != nil {
			panic(err)
		}
		binary = filepath.Join(directory, "sidecar")
		build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w -X main.version=1.2.3", "-o", binary, ".")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			panic(err)
		}
		return m.Run()
	}())
}

// A pod is the part of one that the sidecar sees: a directory shared with the task, and the kubelet's file for
// the message.
type pod struct {
	directory, message string
}

// newPod makes both, for any user, and with an older message that must disappear.
func newPod(t *testing.T) pod {
	t.Helper()
	top, err := os.MkdirTemp("", "pod")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(top) })
	must(t, os.Chmod(top, 0o755))
	shared := pod{directory: filepath.Join(top, "xcom"), message: filepath.Join(top, "termination-log")}
	must(t, os.Mkdir(shared.directory, 0o755))
	must(t, os.WriteFile(shared.message, bytes.Repeat([]byte("old"), 3000), 0o666))
	must(t, os.Chmod(shared.message, 0o666))
	return shared
}

func (p pod) command(flags ...string) *exec.Cmd {
	return exec.Command(binary, append([]string{
		"--path", filepath.Join(p.directory, "return.json"), "--message-path", p.message,
	}, flags...)...)
}

func (p pod) read(t *testing.T) string {
	t.Helper()
	message, err := os.ReadFile(p.message)
	must(t, err)
	return string(message)
}

// start starts the sidecar and returns at the moment from which SIGTERM may come. That moment can be seen from
// outside: a Go program that is started with SIGINT ignored, as a shell starts one in the background, leaves it so
// until it asks for it, and ours asks for SIGTERM just before.
func start(t *testing.T, sidecar *exec.Cmd) {
	t.Helper()
	signal.Ignore(syscall.SIGINT)
	startPlainly(t, sidecar)
	signal.Reset(syscall.SIGINT)

	deadline := time.Now().Add(20 * time.Second)
	for !catches(t, sidecar.Process.Pid, syscall.SIGINT) {
		if time.Now().After(deadline) || processStatus(t, sidecar.Process.Pid, "State") == "Z" {
			t.Fatal("never asked for its signals")
		}
	}
}

func catches(t *testing.T, pid int, signal syscall.Signal) bool {
	t.Helper()
	caught, err := strconv.ParseUint(processStatus(t, pid, "SigCgt"), 16, 64)
	must(t, err)
	return caught&(1<<(signal-1)) != 0
}

func startPlainly(t *testing.T, sidecar *exec.Cmd) {
	t.Helper()
	must(t, sidecar.Start())
	t.Cleanup(func() { _ = sidecar.Process.Kill() })
}

// exitOf waits for the end and returns the exit code.
func exitOf(t *testing.T, sidecar *exec.Cmd) int {
	t.Helper()
	stuck := time.AfterFunc(time.Minute, func() { _ = sidecar.Process.Kill() })
	defer stuck.Stop()
	err := sidecar.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if sidecar.ProcessState.ExitCode() < 0 {
		t.Fatalf("ended by %v", sidecar.ProcessState)
	}
	return sidecar.ProcessState.ExitCode()
}

// waitUntilIdle returns once every thread sleeps and none has run for a while: the sidecar waits.
func waitUntilIdle(t *testing.T, pid int) {
	t.Helper()
	const quiet = 300 * time.Millisecond
	deadline := time.Now().Add(time.Minute)
	last, since := "", time.Now()
	for time.Since(since) < quiet {
		if time.Now().After(deadline) {
			t.Fatalf("still busy: %s", last)
		}
		now, asleep := activity(t, pid)
		if now != last || !asleep {
			last, since = now, time.Now()
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// activity is how often each thread has run, and whether all of them sleep.
func activity(t *testing.T, pid int) (runs string, asleep bool) {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	must(t, err)
	asleep = len(threads) > 0
	for _, thread := range threads {
		status, err := os.ReadFile(thread + "/status")
		must(t, err)
		runs += thread + strings.Join(regexp.MustCompile(`ctxt_switches:\s*(\d+)`).FindAllString(string(status), -1), "") + "\n"
		asleep = asleep && strings.Contains(string(status), "State:\tS")
	}
	return runs, asleep
}

// processStatus is the first word of a line of /proc/<pid>/status.
func processStatus(t *testing.T, pid int, name string) string {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(t, err)
	_, line, ok := strings.Cut(string(status), "\n"+name+":")
	if words := strings.Fields(line); ok && len(words) > 0 {
		return words[0]
	}
	t.Fatalf("no %s in\n%s", name, status)
	return ""
}

func kibibytes(t *testing.T, pid int, name string) int {
	t.Helper()
	amount, err := strconv.Atoi(processStatus(t, pid, name))
	must(t, err)
	return amount
}

func TestDelivery(t *testing.T) {
	cases := map[string]struct {
		lay         func(t *testing.T, directory string)
		flags       []string
		want        opened
		wantMessage string // where opened says less
	}{
		"two bytes": {
			lay:  file("return.json", []byte("{}")),
			want: opened{state: "inline", encoding: "raw", file: []byte("{}")},
		},
		"an empty file": {
			lay:  file("return.json", nil),
			want: opened{state: "inline", encoding: "raw"},
		},
		"3 kB": {
			lay:  file("return.json", numbers(3000)),
			want: opened{state: "inline", encoding: "gzip+base64", file: numbers(3000)},
		},
		"60 kB at random": {
			lay:  file("return.json", random(60000)),
			want: opened{state: "log", encoding: "gzip+base64", file: random(60000)},
		},
		"512 KiB at random": {
			lay:   file("return.json", random(512<<10)),
			flags: []string{"--max-bytes", "524288"},
			want:  opened{state: "log", encoding: "gzip+base64", file: random(512 << 10)},
		},
		"over the limit": {
			lay:         file("return.json", random(65537)),
			wantMessage: `{"v":1,"state":"tooLarge","size":65537}`,
		},
		"over a limit of one's own": {
			lay:         file("return.json", []byte("{}")),
			flags:       []string{"--max-bytes", "1"},
			wantMessage: `{"v":1,"state":"tooLarge","size":2}`,
		},
		"not UTF-8": {
			lay:  file("return.json", []byte("\"\xff\"")),
			want: opened{state: "inline", encoding: "gzip+base64", file: []byte("\"\xff\"")},
		},
		"more than a Pod of many containers has room for": {
			lay:   file("return.json", random(500)),
			flags: []string{"--inline-bytes", "512"},
			want:  opened{state: "log", encoding: "gzip+base64", file: random(500)},
		},
		"nothing":             {lay: nothing, wantMessage: `{"v":1,"state":"missing"}`},
		"no directory either": {lay: func(t *testing.T, directory string) { must(t, os.Remove(directory)) }, wantMessage: `{"v":1,"state":"missing"}`},
		"a directory":         {lay: file("return.json/file", nil), wantMessage: `{"v":1,"state":"unreadable","message":"is a directory"}`},
		"a pipe":              {lay: pipe("return.json"), wantMessage: `{"v":1,"state":"unreadable","message":"not a regular file"}`},
		"a link out":          {lay: link("/etc/passwd", "return.json"), wantMessage: `{"v":1,"state":"unreadable","message":"path escapes from parent"}`},
		"a link beside it": {
			lay:  both(file("real.json", []byte("1")), link("real.json", "return.json")),
			want: opened{state: "inline", encoding: "raw", file: []byte("1")},
		},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			pod := newPod(t)
			test.lay(t, pod.directory)
			sidecar := pod.command(test.flags...)
			var log, complaints strings.Builder
			sidecar.Stdout, sidecar.Stderr = &log, &complaints
			start(t, sidecar)
			must(t, sidecar.Process.Signal(syscall.SIGTERM))

			if code := exitOf(t, sidecar); code != 0 || complaints.Len() > 0 {
				t.Errorf("exit code %d, stderr %q", code, complaints.String())
			}
			message := pod.read(t)
			got, err := open(message, log.String())
			if err != nil {
				t.Fatal(err)
			}
			if test.wantMessage != "" {
				if message != test.wantMessage {
					t.Errorf("message\n     %s\nwant %s", message, test.wantMessage)
				}
				return
			}
			if got.state != test.want.state || got.encoding != test.want.encoding || !bytes.Equal(got.file, test.want.file) {
				t.Errorf("%s, %s, %d bytes, want %s, %s, %d bytes",
					got.state, got.encoding, len(got.file), test.want.state, test.want.encoding, len(test.want.file))
			}
		})
	}
}

// The task may write as another user than the sidecar's. Both directions, so that the refusal is known to come
// from the file's mode.
func TestDeliveryOfAnotherUsersFile(t *testing.T) {
	cases := map[string]struct {
		mode os.FileMode
		want string
	}{
		"readable": {
			mode: 0o444,
			want: `{"v":1,"state":"inline","size":2,"sha256":"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","encoding":"raw","payload":"{}"}`,
		},
		"not readable": {
			mode: 0o000,
			want: `{"v":1,"state":"unreadable","message":"permission denied"}`,
		},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			pod := newPod(t)
			file("return.json", []byte("{}"))(t, pod.directory)
			must(t, os.Chmod(filepath.Join(pod.directory, "return.json"), test.mode))
			sidecar := pod.command()
			if os.Getuid() == 0 { // whom no mode stops
				sidecar.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}
			}
			start(t, sidecar)
			must(t, sidecar.Process.Signal(syscall.SIGTERM))
			if code := exitOf(t, sidecar); code != 0 {
				t.Errorf("exit code %d", code)
			}
			if message := pod.read(t); message != test.want {
				t.Errorf("message\n     %s\nwant %s", message, test.want)
			}
		})
	}
}

// As in the image: process 1, which the kernel protects from signals without a handler, a root that holds
// nothing but the binary, and the numeric user.
func TestDeliveryInAnEmptyContainer(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root for a root directory and processes of its own")
	}
	pod := newPod(t)
	file("return.json", []byte("{}"))(t, pod.directory)
	root := filepath.Dir(pod.directory)
	program, err := os.ReadFile(binary)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(root, "sidecar"), program, 0o755))

	sidecar := exec.Command("/sidecar", "--path", "/xcom/return.json", "--message-path", "/termination-log")
	sidecar.Dir = "/"
	sidecar.SysProcAttr = &syscall.SysProcAttr{
		Chroot:     root,
		Cloneflags: syscall.CLONE_NEWPID,
		Credential: &syscall.Credential{Uid: 65532, Gid: 65532},
	}
	startPlainly(t, sidecar)
	waitUntilIdle(t, sidecar.Process.Pid)
	must(t, sidecar.Process.Signal(syscall.SIGTERM))
	if code := exitOf(t, sidecar); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if got, err := open(pod.read(t), ""); err != nil || got.state != "inline" {
		t.Errorf("%+v, %v", got, err)
	}
}

// Every statement before this one is time in which SIGTERM kills the result. That time is too short to be hit by
// a test reliably, and long enough to be hit in a cluster, so the order is read from the source.
func TestSignalsAreAskedForBeforeAnythingElse(t *testing.T) {
	tree, err := parser.ParseFile(token.NewFileSet(), "main.go", nil, 0)
	must(t, err)
	var first []string
	for _, declaration := range tree.Decls {
		function, ok := declaration.(*ast.FuncDecl)
		if !ok {
			continue
		}
		switch function.Name.Name {
		case "init":
			t.Error("init runs before main")
		case "main":
			for _, statement := range function.Body.List[:2] {
				var source strings.Builder
				must(t, format.Node(&source, token.NewFileSet(), statement))
				first = append(first, source.String())
			}
		}
	}
	want := []string{"stop := make(chan os.Signal, 1)", "signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)"}
	if !slices.Equal(first, want) {
		t.Errorf("main begins with %q, want %q", first, want)
	}
}

func TestEachSignalOfTheKubeletOrAShellEndsTheWaiting(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(signal.String(), func(t *testing.T) {
			pod := newPod(t)
			sidecar := pod.command()
			startPlainly(t, sidecar)
			waitUntilIdle(t, sidecar.Process.Pid)
			if message := pod.read(t); !strings.HasPrefix(message, "old") {
				t.Errorf("a message before the signal: %q", message)
			}
			must(t, sidecar.Process.Signal(signal))
			if code := exitOf(t, sidecar); code != 0 {
				t.Errorf("exit code %d", code)
			}
			if got, want := pod.read(t), `{"v":1,"state":"missing"}`; got != want {
				t.Errorf("message %q, want %q", got, want)
			}
		})
	}
}

// The kubelet may repeat itself, and so may a user: what has begun is finished.
func TestFurtherSignalsWhileReadingChangeNothing(t *testing.T) {
	const size = 64 << 20 // some hundred milliseconds of work
	pod := newPod(t)
	sparse("return.json", size)(t, pod.directory)
	sidecar := pod.command("--max-bytes", strconv.Itoa(size))
	var log bytes.Buffer
	sidecar.Stdout = &log
	start(t, sidecar)

	sent := 0
	stop := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				if sidecar.Process.Signal(syscall.SIGTERM) == nil && sidecar.Process.Signal(syscall.SIGINT) == nil {
					sent++
				}
			}
		}
	}()
	code := exitOf(t, sidecar)
	close(stop)
	<-stopped

	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	if sent < 10 {
		t.Errorf("only %d signals were in time", sent)
	}
	got, err := open(pod.read(t), log.String())
	if err != nil {
		t.Fatal(err)
	}
	if got.state != "log" || !bytes.Equal(got.file, make([]byte, size)) {
		t.Errorf("%s, %d bytes", got.state, len(got.file))
	}
}

// An envelope that says "log" before the log is complete would send the controller to read half of it. The pipe
// is far smaller than the log, so while most of that is unread the sidecar cannot have finished. Its memory is
// measured at the same moment, with everything allocated.
func TestTheLogIsCompleteBeforeTheEnvelope(t *testing.T) {
	const pipe = 64 << 10
	size := 512 << 10
	pod := newPod(t)
	file("return.json", random(size))(t, pod.directory)
	sidecar := pod.command("--max-bytes", strconv.Itoa(size))
	stdout, err := sidecar.StdoutPipe()
	must(t, err)
	start(t, sidecar)
	must(t, sidecar.Process.Signal(syscall.SIGTERM))

	unread := size * 4 / 3
	var log strings.Builder
	lines := bufio.NewReaderSize(stdout, 16<<10)
	for unread > 2*pipe {
		line, err := lines.ReadString('\n')
		must(t, err)
		log.WriteString(line)
		unread -= len(line)
		if message := pod.read(t); !strings.HasPrefix(message, "old") {
			t.Fatalf("with %d bytes of the log unread the message is %q", unread, message)
		}
	}
	if peak := kibibytes(t, sidecar.Process.Pid, "VmHWM"); peak > 16<<10 {
		t.Errorf("a peak of %d KiB, want half of the 32 MiB at most", peak)
	} else {
		t.Logf("peak %d KiB", peak)
	}
	must(t, sidecar.Process.Signal(syscall.SIGTERM))
	rest, err := io.ReadAll(lines)
	must(t, err)
	log.Write(rest)
	if code := exitOf(t, sidecar); code != 0 {
		t.Errorf("exit code %d", code)
	}
	got, err := open(pod.read(t), log.String())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.file, random(size)) {
		t.Error("another file came out")
	}
}

// It waits for as long as the task runs, beside every task of a cluster.
func TestWaitingCostsNothing(t *testing.T) {
	pod := newPod(t)
	sidecar := pod.command("--max-bytes", "524288")
	startPlainly(t, sidecar)
	waitUntilIdle(t, sidecar.Process.Pid)

	before, _ := activity(t, sidecar.Process.Pid)
	time.Sleep(2 * time.Second)
	if after, _ := activity(t, sidecar.Process.Pid); after != before {
		t.Errorf("threads ran while waiting:\n%s\n%s", before, after)
	}
	if resident := kibibytes(t, sidecar.Process.Pid, "VmRSS"); resident > 6<<10 {
		t.Errorf("%d KiB resident while waiting", resident)
	} else {
		t.Logf("resident %d KiB", resident)
	}
	must(t, sidecar.Process.Signal(syscall.SIGTERM))
	if code := exitOf(t, sidecar); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// A promise that cannot be kept is not made: without its log a result is unreadable, and that is not the exit
// code's business.
func TestALogThatCannotBeWritten(t *testing.T) {
	reader, closed, err := os.Pipe()
	must(t, err)
	must(t, reader.Close())
	defer closed.Close()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	must(t, err)
	defer full.Close()

	for want, stdout := range map[string]*os.File{
		"writing the log: broken pipe":             closed,
		"writing the log: no space left on device": full,
	} {
		t.Run(want, func(t *testing.T) {
			pod := newPod(t)
			file("return.json", random(60000))(t, pod.directory)
			sidecar := pod.command()
			sidecar.Stdout = stdout
			start(t, sidecar)
			must(t, sidecar.Process.Signal(syscall.SIGTERM))
			if code := exitOf(t, sidecar); code != 0 {
				t.Errorf("exit code %d", code)
			}
			if got, want := pod.read(t), `{"v":1,"state":"unreadable","message":"`+want+`"}`; got != want {
				t.Errorf("message %s, want %s", got, want)
			}
		})
	}
}

func TestAMessageThatCannotBeWritten(t *testing.T) {
	cases := map[string]struct {
		path string
		want string
	}{
		"a full disk":   {path: "/dev/full", want: "sidecar: write /dev/full: no space left on device\n"},
		"nothing there": {path: "/nowhere/termination-log", want: "sidecar: open /nowhere/termination-log: no such file or directory\n"},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			sidecar := newPod(t).command("--message-path", test.path)
			var complaints strings.Builder
			sidecar.Stderr = &complaints
			start(t, sidecar)
			must(t, sidecar.Process.Signal(syscall.SIGTERM))
			if code := exitOf(t, sidecar); code != exitUndelivered {
				t.Errorf("exit code %d, want %d", code, exitUndelivered)
			}
			if complaints.String() != test.want {
				t.Errorf("stderr %q, want %q", complaints.String(), test.want)
			}
		})
	}
}

// A file made beside the kubelet's mount would be lost in silence.
func TestTheMessageFileIsNotCreated(t *testing.T) {
	pod := newPod(t)
	must(t, os.Remove(pod.message))
	sidecar := pod.command()
	start(t, sidecar)
	must(t, sidecar.Process.Signal(syscall.SIGTERM))
	if code := exitOf(t, sidecar); code != exitUndelivered {
		t.Errorf("exit code %d, want %d", code, exitUndelivered)
	}
	if _, err := os.Stat(pod.message); !os.IsNotExist(err) {
		t.Errorf("the file is there: %v", err)
	}
}

func TestFlags(t *testing.T) {
	cases := map[string]struct {
		flags      []string
		wantCode   int
		wantStdout string
		wantStderr []string
	}{
		"version":           {flags: []string{"--version"}, wantStdout: "1.2.3\n"},
		"help":              {flags: []string{"--help"}, wantStderr: []string{"Usage: sidecar", "-inline-bytes"}},
		"unknown":           {flags: []string{"--pat=x"}, wantCode: 64, wantStderr: []string{"-pat", "Usage: sidecar"}},
		"not a number":      {flags: []string{"--max-bytes=64k"}, wantCode: 64, wantStderr: []string{"max-bytes", "Usage: sidecar"}},
		"negative":          {flags: []string{"--max-bytes=-1"}, wantCode: 64, wantStderr: []string{"--max-bytes", "Usage: sidecar"}},
		"beyond any memory": {flags: []string{"--max-bytes=2147483648"}, wantCode: 64, wantStderr: []string{"--max-bytes", "Usage: sidecar"}},
		"no room at all":    {flags: []string{"--inline-bytes=27"}, wantCode: 64, wantStderr: []string{"--inline-bytes", "Usage: sidecar"}},
		"no path":           {flags: []string{"--path="}, wantCode: 64, wantStderr: []string{"--path", "Usage: sidecar"}},
		"no message path":   {flags: []string{"--message-path="}, wantCode: 64, wantStderr: []string{"--message-path", "Usage: sidecar"}},
		"an argument":       {flags: []string{"return.json"}, wantCode: 64, wantStderr: []string{"return.json", "Usage: sidecar"}},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			sidecar := exec.Command(binary, test.flags...)
			var stdout, stderr strings.Builder
			sidecar.Stdout, sidecar.Stderr = &stdout, &stderr
			startPlainly(t, sidecar)
			if code := exitOf(t, sidecar); code != test.wantCode {
				t.Errorf("exit code %d, want %d", code, test.wantCode)
			}
			if stdout.String() != test.wantStdout {
				t.Errorf("stdout %q, want %q", stdout.String(), test.wantStdout)
			}
			if slices.ContainsFunc(test.wantStderr, func(want string) bool { return !strings.Contains(stderr.String(), want) }) {
				t.Errorf("stderr %q, want all of %q", stderr.String(), test.wantStderr)
			}
		})
	}
}

func TestDefaultFlags(t *testing.T) {
	got, err := parseFlags(nil, io.Discard, io.Discard)
	want := settings{path: "/airflow/xcom/return.json", maxBytes: 65536, inlineBytes: 4096, messagePath: "/dev/termination-log"}
	if err != nil || got != want {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
}

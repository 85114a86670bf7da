// Command sidecar carries a task's result file into the Pod's own status.
//
// A container's files are gone for everybody once it has ended, and fetching them earlier would take exec
// rights, a network or a token for the task. A termination message needs none of these: the kubelet reads it
// from disk and reports it with the container's state, on the watch event that the controller receives anyway.
// So this program runs beside the task as a native sidecar, sleeps until the kubelet's SIGTERM says that the
// task's containers have ended, reads the result file once, and leaves one envelope as its termination message.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
)

// version is set by the linker: -ldflags "-X main.version=1.2.3".
var version = "dev"

// Exit codes as in sysexits.h. What happened to the result is reported in the envelope, never here: tools show any
// other code than 0 as a failed Pod.
const (
	exitDelivered   = 0
	exitWrongFlags  = 64
	exitUndelivered = 74
)

// memoryLimit is far enough below the container's limit, 64 MiB by default, for what the runtime does not count: the
// binary's own pages and the kernel's.
const memoryLimit = 24 << 20

func main() {
	// Before anything else: until here a SIGTERM ends the process, and the result with it. The channel holds one
	// signal, further ones change nothing.
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	// A closed log must become an error in the envelope, not the end of the process.
	signal.Ignore(syscall.SIGPIPE)

	saveResources()
	os.Exit(run(os.Args[1:], stop, os.Stdout, os.Stderr))
}

// saveResources makes waiting free. One processor is all that this program uses, and setting it by hand ends the
// runtime's own look at CPU affinity and quota every minute. A few MiB are allocated in the whole life, so the
// collector starts near the limit alone.
func saveResources() {
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(memoryLimit)
}

// run is the whole life: flags, wait, read, deliver. It returns the exit code.
func run(args []string, stop <-chan os.Signal, stdout, stderr io.Writer) int {
	settings, err := parseFlags(args, stdout, stderr)
	switch {
	case errors.Is(err, errAnswered):
		return exitDelivered
	case err != nil:
		return exitWrongFlags
	}

	<-stop

	if err := deliver(settings, stdout); err != nil {
		fmt.Fprintln(stderr, "sidecar:", err)
		return exitUndelivered
	}
	return exitDelivered
}

// deliver reads the result and announces it. The log comes first: an envelope that says "log" promises that
// every frame is there, so a log that cannot be written is a result that cannot be had.
func deliver(settings settings, log io.Writer) error {
	message, frames := seal(readResult(settings.path, settings.maxBytes), settings.inlineBytes)
	if err := frames.writeTo(log); err != nil {
		message, _ = seal(unreadableBecause(fmt.Errorf("writing the log: %w", words(err))), settings.inlineBytes)
	}
	return writeMessage(settings.messagePath, message)
}

// writeMessage replaces what the file holds, in one write. It never creates the file: the kubelet mounts it, and
// a file made beside that mount would be lost without a word. Nor does it rename: a mount cannot be renamed over.
func writeMessage(path string, message []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = file.Write(message)
	return errors.Join(err, file.Close())
}

// settings are the flags, checked.
type settings struct {
	path        string
	maxBytes    int64
	inlineBytes int
	messagePath string
}

// errAnswered is returned for flags that ask for words instead of work.
var errAnswered = errors.New("answered")

// parseFlags reads the flags. Errors in them go to stderr, with the usage.
func parseFlags(args []string, stdout, stderr io.Writer) (settings, error) {
	var (
		parsed      settings
		showVersion bool
	)
	flags := flag.NewFlagSet("sidecar", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&parsed.path, "path", "/airflow/xcom/return.json", "the result `file`; links that leave its directory are refused")
	flags.Int64Var(&parsed.maxBytes, "max-bytes", 65536, "a longer result is not delivered")
	flags.IntVar(&parsed.inlineBytes, "inline-bytes", 4096, "the envelope is never longer; the kubelet cuts a message at 4096 bytes,\nand at 12288 shared by all containers of the Pod")
	flags.StringVar(&parsed.messagePath, "message-path", "/dev/termination-log", "the container's terminationMessagePath, a `file` that exists")
	flags.BoolVar(&showVersion, "version", false, "print the version and exit")
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), "Usage: sidecar [flags]\nWaits for SIGTERM, then puts the result file into the termination message.")
		flags.PrintDefaults()
	}

	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return settings{}, errAnswered
		}
		return settings{}, err
	}
	if showVersion {
		fmt.Fprintln(stdout, version)
		return settings{}, errAnswered
	}
	if err := parsed.check(flags.Args()); err != nil {
		fmt.Fprintln(stderr, err)
		flags.Usage()
		return settings{}, err
	}
	return parsed, nil
}

// check rejects flags that cannot work, at the start of the container, where the error is still seen.
func (s settings) check(arguments []string) error {
	switch {
	case len(arguments) > 0:
		return fmt.Errorf("unexpected argument %q", arguments[0])
	case s.path == "":
		return errors.New("--path must not be empty")
	case s.messagePath == "":
		return errors.New("--message-path must not be empty")
	case s.maxBytes < 0 || s.maxBytes > math.MaxInt32:
		return fmt.Errorf("--max-bytes must be between 0 and %d", math.MaxInt32)
	case s.inlineBytes < smallestEnvelope:
		return fmt.Errorf("--inline-bytes must be at least %d, the shortest envelope", smallestEnvelope)
	}
	return nil
}

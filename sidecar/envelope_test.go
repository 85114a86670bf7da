package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// random bytes do not compress; a fixed seed keeps a failure the same failure.
func random(n int) []byte {
	bytes := make([]byte, n)
	rand.NewChaCha8([32]byte{}).Read(bytes)
	return bytes
}

// numbers is JSON that compresses about as well as real results do.
func numbers(n int) []byte {
	source := rand.New(rand.NewPCG(1, 2))
	text := []byte("[0")
	for len(text) < n-1 {
		text = fmt.Appendf(text, ",%d", source.IntN(100))
	}
	return append(text[:n-1], ']')
}

func found(file []byte) result {
	return result{bytes: file, size: int64(len(file))}
}

// sealed is seal as the controller sees it: a message and a log.
func sealed(t *testing.T, found result, room int) (message, log string) {
	t.Helper()
	line, frames := seal(found, room)
	var printed strings.Builder
	if err := frames.writeTo(&printed); err != nil {
		t.Fatal(err)
	}
	return string(line), printed.String()
}

// keysOf is the contract: the keys of an envelope of each state.
var keysOf = map[string][]string{
	"inline":     {"encoding", "payload", "sha256", "size", "state", "v"},
	"log":        {"chunks", "encoding", "sha256", "size", "state", "v"},
	"missing":    {"state", "v"},
	"tooLarge":   {"size", "state", "v"},
	"noRoom":     {"size", "state", "v"},
	"unreadable": {"message", "state", "v"},
}

// An opened envelope, read without any of the code that wrote it.
type opened struct {
	state, encoding, message string
	size                     int
	file                     []byte
}

// open is the reading half, as strict as the controller's. Without a log only the message is looked at.
func open(message, log string) (opened, error) {
	if !utf8.ValidString(message) || strings.ContainsAny(message, "\r\n") {
		return opened{}, fmt.Errorf("not one line of UTF-8: %q", message)
	}
	var keys map[string]any
	if err := json.Unmarshal([]byte(message), &keys); err != nil {
		return opened{}, fmt.Errorf("%w in %q", err, message)
	}
	text := func(key string) string { value, _ := keys[key].(string); return value }
	number := func(key string) int { value, _ := keys[key].(float64); return int(value) }
	got := opened{state: text("state"), encoding: text("encoding"), message: text("message"), size: number("size")}

	if number("v") != 1 {
		return got, fmt.Errorf("version %v", keys["v"])
	}
	if has, want := slices.Sorted(maps.Keys(keys)), keysOf[got.state]; !slices.Equal(has, want) {
		return got, fmt.Errorf("state %q has the keys %v, want %v", got.state, has, want)
	}

	payload := text("payload")
	switch got.state {
	case "log":
		var err error
		if payload, err = unframe(log, text("sha256"), number("chunks")); err != nil {
			return got, err
		}
	case "inline":
		if log != "" {
			return got, errors.New("an inline result is in the log too")
		}
	default:
		if log != "" {
			return got, errors.New("a lost result is in the log")
		}
		return got, nil
	}

	got.file = []byte(payload)
	if got.encoding != "raw" {
		if got.encoding != "gzip+base64" {
			return got, fmt.Errorf("encoding %q", got.encoding)
		}
		decompressor, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding.Strict(), strings.NewReader(payload)))
		if err != nil {
			return got, err
		}
		if got.file, err = io.ReadAll(decompressor); err != nil {
			return got, err
		}
	}
	if sum := sha256.Sum256(got.file); hex.EncodeToString(sum[:]) != text("sha256") {
		return got, errors.New("the hash is of something else")
	}
	if len(got.file) != got.size {
		return got, fmt.Errorf("%d bytes, size says %d", len(got.file), got.size)
	}
	return got, nil
}

func unframe(log, hash string, chunks int) (payload string, err error) {
	lines := strings.SplitAfter(log, "\n")
	if last := len(lines) - 1; lines[last] != "" {
		return "", errors.New("the last frame is cut")
	}
	lines = lines[:len(lines)-1]
	if len(lines) != chunks {
		return "", fmt.Errorf("%d frames, the header says %d", len(lines), chunks)
	}
	for i, line := range lines {
		prefix := "podtask-xcom/1 " + hash[:16] + " " + strconv.Itoa(i+1) + "/" + strconv.Itoa(chunks) + " "
		part, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), prefix)
		if !ok {
			return "", fmt.Errorf("frame %d begins %.60q, want %q", i+1, line, prefix)
		}
		if len(part) == 0 || len(part) > 8000 {
			return "", fmt.Errorf("frame %d has %d bytes", i+1, len(part))
		}
		payload += part
	}
	return payload, nil
}

func TestSealWritesExactly(t *testing.T) {
	cases := map[string]struct {
		found   result
		room    int
		want    string
		wantLog string
	}{
		"small JSON stays readable": {
			found: found([]byte(`{"a":"<b> & c"}`)),
			room:  4096,
			want:  `{"v":1,"state":"inline","size":15,"sha256":"e5a575a325c41ad8fea057af7e2bb2c332746f6b1248428760847ec37fe49796","encoding":"raw","payload":"{\"a\":\"<b> & c\"}"}`,
		},
		"an empty file has a size and a payload": {
			found: found(nil),
			room:  4096,
			want:  `{"v":1,"state":"inline","size":0,"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","encoding":"raw","payload":""}`,
		},
		"control characters are escaped": {
			found: found([]byte("\x00\x01\x1f\x7f\t\n\r\u2028")),
			room:  4096,
			want:  `{"v":1,"state":"inline","size":10,"sha256":"bf8bc4ef34f0a317886c9610674f5fb7e256e00175ac9677ad4d7d4bb7fa841c","encoding":"raw","payload":"\u0000\u0001\u001f` + "\x7f" + `\t\n\r\u2028"}`,
		},
		"nothing there": {
			found: result{loss: stateMissing},
			room:  4096,
			want:  `{"v":1,"state":"missing"}`,
		},
		"over the limit": {
			found: result{loss: stateTooLarge, size: 1 << 40},
			room:  4096,
			want:  `{"v":1,"state":"tooLarge","size":1099511627776}`,
		},
		"not to be read": {
			found: result{loss: stateUnreadable, why: "permission denied"},
			room:  4096,
			want:  `{"v":1,"state":"unreadable","message":"permission denied"}`,
		},
		"words are cut to the room": {
			found: result{loss: stateUnreadable, why: "permission denied"},
			room:  50,
			want:  `{"v":1,"state":"unreadable","message":"permissio"}`,
		},
		"words that are not UTF-8 are replaced": {
			found: result{loss: stateUnreadable, why: "link \xff"},
			room:  4096,
			want:  `{"v":1,"state":"unreadable","message":"link ` + "\uFFFD" + `"}`,
		},
		"words end at 200 bytes and at a character": {
			found: result{loss: stateUnreadable, why: "a" + strings.Repeat("ü", 200)},
			room:  4096,
			want:  `{"v":1,"state":"unreadable","message":"a` + strings.Repeat("ü", 99) + `"}`,
		},
		"no room for words": {
			found: result{loss: stateUnreadable, why: "permission denied"},
			room:  smallestEnvelope,
			want:  `{"v":1,"state":"unreadable"}`,
		},
		"no room for a size": {
			found: result{loss: stateTooLarge, size: 1 << 40},
			room:  smallestEnvelope,
			want:  `{"v":1,"state":"tooLarge"}`,
		},
		"room for the header exactly": {
			found:   found(random(90)),
			room:    143,
			want:    `{"v":1,"state":"log","size":90,"sha256":"d255e38aa254deb7e9760eef000d38f075a22f7b2acb1b10cfd779425c8ce163","encoding":"gzip+base64","chunks":1}`,
			wantLog: "podtask-xcom/1 d255e38aa254deb7 1/1 ",
		},
		"no room for the header": {
			found: found(random(90)),
			room:  142,
			want:  `{"v":1,"state":"noRoom","size":90}`,
		},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			message, log := sealed(t, test.found, test.room)
			if message != test.want {
				t.Errorf("message\n     %s\nwant %s", message, test.want)
			}
			if log != "" && test.wantLog == "" || !strings.HasPrefix(log, test.wantLog) {
				t.Errorf("log %.60q, want %q", log, test.wantLog)
			}
		})
	}
}

func TestSealChoosesHowAResultTravels(t *testing.T) {
	cases := map[string]struct {
		file         []byte
		room         int
		wantState    string
		wantEncoding string
	}{
		"two bytes":                      {file: []byte("{}"), room: 4096, wantState: "inline", wantEncoding: "raw"},
		"3 kB that compress":             {file: numbers(3000), room: 4096, wantState: "inline", wantEncoding: "gzip+base64"},
		"text that does not compress":    {file: []byte(base64.StdEncoding.EncodeToString(random(200))), room: 4096, wantState: "inline", wantEncoding: "raw"},
		"3 kB at random":                 {file: random(3000), room: 4096, wantState: "log", wantEncoding: "gzip+base64"},
		"two bytes that are not UTF-8":   {file: []byte("\xff\xfe"), room: 4096, wantState: "inline", wantEncoding: "gzip+base64"},
		"half of a surrogate pair":       {file: []byte("\xed\xa0\x80"), room: 4096, wantState: "inline", wantEncoding: "gzip+base64"},
		"a replacement character":        {file: []byte("\uFFFD"), room: 4096, wantState: "inline", wantEncoding: "raw"},
		"60 kB of the same":              {file: bytes.Repeat([]byte("a"), 60000), room: 4096, wantState: "inline", wantEncoding: "gzip+base64"},
		"60 kB at random":                {file: random(60000), room: 4096, wantState: "log", wantEncoding: "gzip+base64"},
		"512 KiB at random":              {file: random(512 << 10), room: 4096, wantState: "log", wantEncoding: "gzip+base64"},
		"512 KiB of NUL":                 {file: make([]byte, 512<<10), room: 4096, wantState: "inline", wantEncoding: "gzip+base64"},
		"many containers leave no room":  {file: random(1000), room: 1024, wantState: "log", wantEncoding: "gzip+base64"},
		"escapes are dearer than base64": {file: bytes.Repeat([]byte{1, 2, 3}, 9), room: 4096, wantState: "inline", wantEncoding: "gzip+base64"},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			message, log := sealed(t, found(test.file), test.room)
			got, err := open(message, log)
			if err != nil {
				t.Fatal(err)
			}
			if got.state != test.wantState || got.encoding != test.wantEncoding {
				t.Errorf("%s, %s, want %s, %s", got.state, got.encoding, test.wantState, test.wantEncoding)
			}
			if !bytes.Equal(got.file, test.file) {
				t.Error("another file came out")
			}
			if len(message) > test.room {
				t.Errorf("message of %d bytes, room for %d", len(message), test.room)
			}
		})
	}
}

// Every byte saved keeps a result out of the log.
func TestSealCompressesAsWellAsItCan(t *testing.T) {
	var paths strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&paths, `{"path":"s3://bucket/part-%05d","rows":%d},`, i, i*i%977)
	}
	var usual bytes.Buffer
	writer := gzip.NewWriter(&usual)
	if _, err := io.WriteString(writer, paths.String()); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	if best := len(compress([]byte(paths.String()))); best >= usual.Len() {
		t.Errorf("%d bytes, the usual level makes %d", best, usual.Len())
	}
}

// More and more of one letter behind text that does not compress: at first raw is shorter, in the end it is
// not, and where both are equal the readable one wins.
func TestSealPrefersWhatKubectlShows(t *testing.T) {
	equal := 0
	for n := range 400 {
		file := []byte(base64.StdEncoding.EncodeToString(random(90)) + strings.Repeat("a", n))
		raw := len(`"raw"`) + len(file)
		packed := len(`"gzip+base64"`) + base64.StdEncoding.EncodedLen(len(compress(file)))
		want := "raw"
		switch {
		case packed < raw:
			want = "gzip+base64"
		case packed == raw:
			equal++
		}
		got, err := open(sealed(t, found(file), 4096))
		if err != nil {
			t.Fatal(err)
		}
		if got.encoding != want {
			t.Errorf("raw %d, compressed %d: %s, want %s", raw, packed, got.encoding, want)
		}
	}
	if equal == 0 {
		t.Error("no length at which both are equal")
	}
}

// The room changes byte by byte around each border: a message is never longer, and nothing is sent through the
// log that would have fitted.
func TestSealUsesTheRoomToTheLastByte(t *testing.T) {
	for name, file := range map[string][]byte{"raw": []byte(base64.StdEncoding.EncodeToString(random(300))), "gzip+base64": random(300)} {
		t.Run(name, func(t *testing.T) {
			widest, _ := sealed(t, found(file), 4096)
			for room := smallestEnvelope; room <= len(widest)+1; room++ {
				message, log := sealed(t, found(file), room)
				got, err := open(message, log)
				if err != nil && room >= len(`{"v":1,"state":"noRoom","size":600}`) {
					t.Fatalf("room %d: %v", room, err)
				}
				if len(message) > room {
					t.Fatalf("room %d: message of %d bytes", room, len(message))
				}
				if wants := room >= len(widest); wants != (got.state == "inline") {
					t.Fatalf("room %d: %s", room, got.state)
				}
			}
		})
	}
}

// As JSON each of these bytes becomes six, and the sidecar has 32 MiB. What is too long already is not escaped.
func TestSealIsSparingWithMemory(t *testing.T) {
	file := bytes.Repeat([]byte{1}, 512<<10)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	seal(found(file), 4096)
	runtime.ReadMemStats(&after)
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 4<<20 {
		t.Errorf("%d KiB allocated for %d KiB", allocated>>10, len(file)>>10)
	}
}

// One write for each frame: a container runtime that reads between two writes still sees whole lines.
func TestFramesAreWrittenLineByLine(t *testing.T) {
	file := random(60000)
	_, frames := seal(found(file), 4096)
	var writes writeCounter
	if err := frames.writeTo(&writes); err != nil {
		t.Fatal(err)
	}
	if want := frames.count(); len(writes) != want || want != 11 {
		t.Errorf("%d writes for %d frames, want 11", len(writes), want)
	}
	for _, write := range writes {
		if !strings.HasSuffix(write, "\n") || strings.Count(write, "\n") != 1 {
			t.Errorf("not one line: %.60q", write)
		}
	}
}

type writeCounter []string

func (w *writeCounter) Write(line []byte) (int, error) {
	*w = append(*w, string(line))
	return len(line), nil
}

// Proves that whatever file comes out of the envelope is the file that went in, that the message keeps to its
// room, and that a value is given up only where not even a header has room.
func FuzzEnvelope(f *testing.F) {
	for _, file := range [][]byte{nil, []byte("{}"), []byte("\x00"), []byte("\xff"), []byte("<&>\u2028"), numbers(3000), random(7000)} {
		for _, room := range []uint16{0, 100, 150, 1024, 4096} {
			f.Add(file, room)
		}
	}
	const header = len(`{"v":1,"state":"log","size":65536,"sha256":"","encoding":"gzip+base64","chunks":11}`) + 64
	f.Fuzz(func(t *testing.T, file []byte, more uint16) {
		room := smallestEnvelope + int(more)
		message, log := sealed(t, found(file), room)
		if len(message) > room {
			t.Fatalf("message of %d bytes, room for %d", len(message), room)
		}
		if room < header+smallestEnvelope && strings.Contains(message, "noRoom") {
			return
		}
		got, err := open(message, log)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.file, file) {
			t.Fatalf("%q came out as %q", file, got.file)
		}
	})
}

// Proves that whatever the OS says stays one line of JSON within its limits.
func FuzzWords(f *testing.F) {
	f.Add("permission denied", uint16(0))
	f.Add(strings.Repeat("\x00", 300), uint16(100))
	f.Add("\xff\xfeü", uint16(20))
	f.Fuzz(func(t *testing.T, why string, more uint16) {
		room := smallestEnvelope + int(more)
		message, _ := sealed(t, result{loss: stateUnreadable, why: why}, room)
		if len(message) > room {
			t.Fatalf("message of %d bytes, room for %d", len(message), room)
		}
		if !strings.Contains(message, `"message"`) {
			return
		}
		got, err := open(message, "")
		if err != nil {
			t.Fatal(err)
		}
		if len(got.message) > 200 {
			t.Fatalf("%d bytes of words", len(got.message))
		}
	})
}

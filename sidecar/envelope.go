package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// envelopeVersion is raised when a controller of the version before could misread the envelope.
const envelopeVersion = 1

// A state says where the result is, or why there is none.
type state string

const (
	stateInline     state = "inline"     // in the payload
	stateLog        state = "log"        // in this container's log, framed
	stateMissing    state = "missing"    // the task left no file
	stateTooLarge   state = "tooLarge"   // the file is over the limit
	stateNoRoom     state = "noRoom"     // the file is within the limit, and the message has no room even for a header
	stateUnreadable state = "unreadable" // there is a file, message says what was wrong with it
)

const (
	encodingRaw  = "raw"
	encodingGzip = "gzip+base64"
)

// mostWords is the length of a message in bytes: a sentence, never a dump.
const mostWords = 200

// smallestEnvelope is the room that the longest envelope without anything optional needs.
const smallestEnvelope = len(`{"v":1,"state":"unreadable"}`)

// An envelope is the termination message: one line of JSON that the controller reads. Size and Payload are
// pointers because an empty file has both.
type envelope struct {
	V        int     `json:"v"`
	State    state   `json:"state"`
	Size     *int64  `json:"size,omitempty"`
	SHA256   string  `json:"sha256,omitempty"`
	Encoding string  `json:"encoding,omitempty"`
	Payload  *string `json:"payload,omitempty"`
	Chunks   int     `json:"chunks,omitempty"`
	Message  string  `json:"message,omitempty"`
}

// line is the envelope as it is written. Nothing is escaped for HTML, which would cost five bytes for each "<".
func (e envelope) line() []byte {
	var line bytes.Buffer
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(e); err != nil {
		panic(err) // strings and numbers always encode
	}
	return bytes.TrimSuffix(line.Bytes(), []byte("\n"))
}

// seal decides how a result travels: in the message where it fits, else in the log with only a header in the
// message. The message is never longer than room.
func seal(found result, room int) (message []byte, log frames) {
	if found.loss != "" {
		return sealLoss(found, room), frames{}
	}

	sum := sha256.Sum256(found.bytes)
	header := envelope{V: envelopeVersion, Size: &found.size, SHA256: hex.EncodeToString(sum[:])}
	compressed := compress(found.bytes)

	if message := sealInline(header, found.bytes, compressed, room); message != nil {
		return message, frames{}
	}
	log = frames{sha256: header.SHA256, compressed: compressed}
	header.State, header.Encoding, header.Chunks = stateLog, encodingGzip, log.count()
	if message := header.line(); len(message) <= room {
		return message, log
	}
	// A header without its hash could not be verified. Nothing is written to the log: the controller would not read it.
	return sealLoss(result{loss: stateNoRoom, size: found.size}, room), frames{}
}

// sealInline returns the shorter of both encodings, the readable one when they are equal, or nil when neither
// has room. What is longer than the room before it is wrapped is not even tried, which keeps 512 KiB of control
// characters from becoming 3 MiB of escapes.
func sealInline(header envelope, plain, compressed []byte, room int) []byte {
	header.State = stateInline

	var shortest []byte
	try := func(encoding, payload string) {
		header.Encoding, header.Payload = encoding, &payload
		if line := header.line(); len(line) <= room && (shortest == nil || len(line) < len(shortest)) {
			shortest = line
		}
	}
	// Bytes that are not UTF-8 would be replaced, by JSON here or by the kubelet later.
	if len(plain) <= room && utf8.Valid(plain) {
		try(encodingRaw, string(plain))
	}
	if base64.StdEncoding.EncodedLen(len(compressed)) <= room {
		try(encodingGzip, base64.StdEncoding.EncodeToString(compressed))
	}
	return shortest
}

// sealLoss says why there is no payload, with as many details as there is room for.
func sealLoss(found result, room int) []byte {
	told := envelope{V: envelopeVersion, State: found.loss}
	switch found.loss {
	case stateTooLarge, stateNoRoom:
		told.Size = &found.size
	case stateUnreadable:
		told.Message = shorten(found.why, mostWords)
	}
	line := told.line()
	for over := len(line) - room; over > 0 && told.Message != ""; over = len(line) - room {
		told.Message = shorten(told.Message, len(told.Message)-over)
		line = told.line()
	}
	if len(line) > room {
		told.Size = nil
		line = told.line()
	}
	return line
}

// shorten cuts text to a number of bytes, never within a character.
func shorten(text string, most int) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:max(most, 0)], "")
}

func compress(plain []byte) []byte {
	var compressed bytes.Buffer
	writer, err := gzip.NewWriterLevel(&compressed, gzip.BestCompression)
	if err != nil {
		panic(err) // the level is a constant
	}
	// A buffer takes every write.
	_, _ = writer.Write(plain)
	_ = writer.Close()
	return compressed.Bytes()
}

// frameBytes is what one line of the log carries: 6,000 bytes are 8,000 of base64, without padding before the
// last frame, and with its frame well below the 16 KiB at which container runtimes split a line.
const frameBytes = 6000

// frames are a result on its way through the log. The hash in each tells them from what else may be printed,
// an earlier run of this container included.
type frames struct {
	sha256     string
	compressed []byte
}

func (f frames) count() int {
	return (len(f.compressed) + frameBytes - 1) / frameBytes
}

// writeTo writes each frame as a line of its own, unbuffered: when it returns nil, all of them are out.
func (f frames) writeTo(log io.Writer) error {
	i := 0
	for part := range slices.Chunk(f.compressed, frameBytes) {
		i++
		_, err := fmt.Fprintf(log, "podtask-xcom/1 %.16s %d/%d %s\n",
			f.sha256, i, f.count(), base64.StdEncoding.EncodeToString(part))
		if err != nil {
			return err
		}
	}
	return nil
}

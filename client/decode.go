package client

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"time"

	"github.com/go-faster/jx"
)

const (
	// maxSessionSize is the maximum size of a session in bytes of JSON. It bounds the
	// memory of the decoder.
	maxSessionSize = 1 << 20
	// bufferSize is how many bytes are read and decoded at a time.
	bufferSize = 256 << 10
	// whiteSpace is the white space of JSON.
	whiteSpace = " \t\r\n"
	// maxBufferSize has room for an array's bracket and the largest session.
	maxBufferSize = len("[") + maxSessionSize
)

var (
	errEncoding  = errors.New("a Content-Encoding that was not asked for")
	errNotList   = errors.New("not a JSON array")
	errNotObject = errors.New("an element of the array is not an object")
	errTooLarge  = fmt.Errorf("a session of more than %d bytes", maxSessionSize)
	errSyntax    = errors.New("invalid JSON")
	errTruncated = errors.New("the body ends before the array does")
	errTrailing  = errors.New("more data after the array")
	errCorrupt   = errors.New("the compressed body is corrupt")
	errStopped   = errors.New("the caller stopped") // never returned
)

// decodeSessions yields the sessions of a JSON array while source is read into
// buffer. A failure is yielded once, last: an [*Error] with the reason
// InvalidResponse, even if reading source failed.
//
// It accepts what encoding/json accepts: duplicate names (the last one counts),
// invalid UTF-8 and lone surrogates in strings. A visitor can cause those, and must
// not be able to make a list invalid.
func decodeSessions(source io.Reader, buffer []byte) iter.Seq2[Session, error] {
	return func(yield func(Session, error) bool) {
		d := sessionDecoder{source: source, yield: yield, buffer: buffer[:0]}
		if err := d.decode(); err != nil && !errors.Is(err, errStopped) {
			yield(Session{}, d.explain(err))
		}
	}
}

// sessionDecoder decodes a JSON array of sessions piece by piece.
//
// jx is more than twice as fast on bytes in memory as on a stream, and allocates
// nothing there. So the decoder fills a buffer and lets jx decode it as an array.
// Where jx reaches the end of the buffer, the decoder moves the unfinished session
// to the front, reads on behind it and decodes again.
type sessionDecoder struct {
	source io.Reader
	yield  func(Session, error) bool
	json   jx.Decoder
	times  timeParser

	buffer []byte // '[', whole sessions and maybe a part of one
	offset int64  // of the buffer in the body
	isTail bool   // the buffer holds what follows the array
	ended  bool   // the source has been read to its end

	// mark is the position in the buffer of the first name of a session, at its
	// quote, where decoding can start again. It is 0 if there is none.
	mark int
	// decoded counts the sessions decoded since the mark. yielded counts the
	// sessions at the start of the buffer that have been yielded before.
	decoded, yielded int
}

// decode reads the whole array.
func (d *sessionDecoder) decode() error {
	for {
		if err := d.read(); err != nil {
			return err
		}
		d.mark, d.decoded = 0, 0
		d.json.ResetBytes(d.buffer)
		if kind := d.json.Next(); kind != jx.Array && kind != jx.Invalid {
			return errNotList
		}
		switch err := d.json.Arr(d.session); {
		case err == nil:
			return d.end()
		case !isEnd(err):
			return err
		case d.ended:
			return errTruncated
		}
		if err := d.carry(); err != nil {
			return err
		}
	}
}

// read fills the buffer.
func (d *sessionDecoder) read() error {
	for !d.ended && len(d.buffer) < cap(d.buffer) {
		n, err := d.source.Read(d.buffer[len(d.buffer):cap(d.buffer)])
		d.buffer = d.buffer[:len(d.buffer)+n]
		switch {
		case errors.Is(err, io.EOF):
			d.ended = true
		case errors.Is(err, io.ErrUnexpectedEOF):
			return errTruncated
		case err != nil:
			// The source remembers errors of the network itself; this one may be
			// of the decompression.
			return errCorrupt
		}
	}
	return nil
}

// carry moves the part of the buffer that has to be decoded again to the front.
func (d *sessionDecoder) carry() error {
	const opening = "[{"
	d.yielded = d.decoded
	if d.mark <= len(opening) && d.decoded > 0 {
		if start := d.unmarked(); start > len("[") {
			n := copy(d.buffer[len("["):], d.buffer[start:])
			d.buffer = d.buffer[:len("[")+n]
			d.offset += int64(start - len("["))
			return nil
		}
	}
	if d.mark > len(opening) {
		n := copy(d.buffer[len(opening):], d.buffer[d.mark:])
		copy(d.buffer, opening)
		d.offset += int64(d.mark - len(opening))
		// The limit keeps a session at its maximum size.
		d.buffer = d.buffer[: len(opening)+n : min(cap(d.buffer), maxBufferSize)]
		return nil
	}
	limit := maxBufferSize
	if d.decoded > 0 {
		limit += bufferSize // for the first name of the next session, and white space
	}
	if cap(d.buffer) >= limit {
		return errTooLarge
	}
	larger := make([]byte, len(d.buffer), min(2*cap(d.buffer), limit))
	copy(larger, d.buffer)
	d.buffer = larger
	return nil
}

// unmarked returns where decoding can start again after sessions without a mark,
// which have no name or a first name with escapes: at the unfinished session at the
// end of the buffer, or else at the session before. It returns 0 if it finds none.
// It uses encoding/json, which is slow, because such sessions are rare.
func (d *sessionDecoder) unmarked() (start int) {
	decoder := json.NewDecoder(bytes.NewReader(d.buffer))
	_, _ = decoder.Token() // the bracket
	var session json.RawMessage
	for range d.decoded {
		if decoder.Decode(&session) != nil {
			return 0
		}
	}
	end := int(decoder.InputOffset())
	next, found := bytes.CutPrefix(bytes.TrimLeft(d.buffer[end:], whiteSpace), []byte(","))
	if next = bytes.TrimLeft(next, whiteSpace); found && len(next) > 0 {
		d.yielded = 0
		return len(d.buffer) - len(next)
	}
	d.yielded = 1
	return end - len(session)
}

// end returns an error if anything but white space follows the array.
func (d *sessionDecoder) end() error {
	// There is no further element; the error shows whether anything else follows.
	if d.json.Next() != jx.Invalid {
		return errTrailing
	}
	if _, err := d.json.Elem(); !isEnd(err) {
		return errTrailing
	}
	for d.isTail = true; !d.ended; {
		d.offset += int64(len(d.buffer))
		d.buffer = d.buffer[:0]
		if err := d.read(); err != nil {
			return err
		}
		if len(bytes.TrimLeft(d.buffer, whiteSpace)) > 0 {
			return errTrailing
		}
	}
	return nil
}

// isEnd reports whether jx failed at the end of its bytes.
func isEnd(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// session reads one element of the array and yields it.
func (d *sessionDecoder) session(*jx.Decoder) error {
	switch d.json.Next() {
	case jx.Object:
	case jx.Invalid:
		return d.json.Skip() // returns the error
	default:
		return errNotObject
	}
	var (
		session                          Session
		hasUUID, hasCreated, hasModified bool
		metaMalformed, isMarked          bool
	)
	err := d.json.ObjBytes(func(_ *jx.Decoder, name []byte) (err error) {
		if !isMarked {
			isMarked = true
			d.markAt(name)
		}
		switch string(name) {
		case "uuid":
			var uuid jx.Raw
			uuid, err = d.json.Raw()
			hasUUID = err == nil && uuid[0] == '"' && len(uuid) > len(`""`)
		case "created_at":
			session.Created, hasCreated, err = d.time()
		case "modified_at":
			session.Modified, hasModified, err = d.time()
		case "meta":
			session.HasLead, session.IdentityVerified, metaMalformed, err = d.meta()
		default:
			return d.json.Skip()
		}
		return err
	})
	if err != nil {
		return err
	}
	d.decoded++
	if d.yielded > 0 {
		d.yielded--
		return nil
	}
	session.Malformed = !hasUUID || !hasCreated || !hasModified || metaMalformed
	if !d.yield(session, nil) {
		return errStopped
	}
	return nil
}

// markAt marks a session at its first name, if name is a part of the buffer. A name
// with escapes is a copy; see unmarked for sessions that have no mark.
func (d *sessionDecoder) markAt(name []byte) {
	if at := cap(d.buffer) - cap(name); len(name) > 0 && at > 0 && at < len(d.buffer) && &d.buffer[at] == &name[0] {
		d.mark, d.decoded = at-len(`"`), 0
	}
}

// meta decodes the meta member of a session. It reports whether user and auth_data
// have members, and whether any of the three is neither object nor null.
func (d *sessionDecoder) meta() (user, authData, malformed bool, err error) {
	switch d.json.Next() {
	case jx.Object:
	case jx.Null:
		return false, false, false, d.json.Skip()
	default:
		return false, false, true, d.json.Skip()
	}
	var userMalformed, authDataMalformed bool
	err = d.json.ObjBytes(func(_ *jx.Decoder, name []byte) (err error) {
		switch string(name) {
		case "user":
			user, userMalformed, err = d.hasMember()
		case "auth_data":
			authData, authDataMalformed, err = d.hasMember()
		default:
			return d.json.Skip()
		}
		return err
	})
	return user, authData, userMalformed || authDataMalformed, err
}

// hasMember skips a value. It reports whether the value is an object with at least
// one member, and whether it is neither object nor null.
func (d *sessionDecoder) hasMember() (has, malformed bool, err error) {
	raw, err := d.json.Raw()
	if err != nil {
		return false, false, err
	}
	switch raw[0] {
	case '{':
		return bytes.TrimLeft(raw[len("{"):], whiteSpace)[0] != '}', false, nil
	case 'n':
		return false, false, nil
	default:
		return false, true, nil
	}
}

// time decodes a timestamp. It reports false for any other value.
func (d *sessionDecoder) time() (t time.Time, ok bool, err error) {
	raw, err := d.json.Raw()
	if err != nil || raw[0] != '"' {
		return time.Time{}, false, err
	}
	if bytes.IndexByte(raw, '\\') >= 0 {
		var text string
		if json.Unmarshal(raw, &text) != nil {
			return time.Time{}, false, errSyntax
		}
		t, ok = d.times.parse([]byte(text))
		return t, ok, nil
	}
	t, ok = d.times.parse(raw[len(`"`) : len(raw)-len(`"`)])
	return t, ok, nil
}

// explain returns the [*Error] for an error of this file or of jx, whose texts may
// quote the body and are left out.
func (d *sessionDecoder) explain(err error) *Error {
	failure := &Error{Reason: InvalidResponse, Status: http.StatusOK, Err: errSyntax}
	for _, known := range []error{errNotList, errNotObject, errTooLarge, errTruncated, errTrailing, errCorrupt} {
		if errors.Is(err, known) {
			failure.Err = known
		}
	}
	failure.Offset = d.offset + d.locate(failure.Err)
	failure.Transient = errors.Is(err, errTruncated) && failure.Offset > 0
	return failure
}

// locate returns the position of an error in the buffer. It uses encoding/json, as
// jx does not give positions.
func (d *sessionDecoder) locate(err error) int64 {
	switch {
	case errors.Is(err, errNotList), d.isTail:
		return int64(len(d.buffer) - len(bytes.TrimLeft(d.buffer, whiteSpace)))
	case errors.Is(err, errNotObject):
		decoder := json.NewDecoder(bytes.NewReader(d.buffer))
		_, _ = decoder.Token() // the bracket
		for element := json.RawMessage("{"); decoder.More(); {
			if decoder.Decode(&element) != nil {
				return decoder.InputOffset()
			}
			if element[0] != '{' {
				return decoder.InputOffset() - int64(len(element))
			}
		}
	case errors.Is(err, errSyntax), errors.Is(err, errTrailing):
		var syntax *json.SyntaxError
		if errors.As(json.Unmarshal(d.buffer, new(json.RawMessage)), &syntax) {
			return syntax.Offset - 1
		}
	}
	return int64(len(d.buffer))
}

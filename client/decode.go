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
	// maxSessionSize is how many bytes of JSON a session may have. It bounds the
	// decoder's memory whatever a server sends.
	maxSessionSize = 1 << 20
	// bufferSize is how many bytes are read and decoded at a time.
	bufferSize = 256 << 10
	// whiteSpace is that of JSON.
	whiteSpace = " \t\r\n"
	// maxBufferSize holds an array's bracket and the largest session.
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
	errStopped   = errors.New("the sequence was left") // never shown
)

// decodeSessions yields the sessions of a JSON array as they are read from
// source, by way of buffer. The first failure ends the sequence; it is an
// [*Error] with the reason InvalidResponse, whichever side of source it comes from.
//
// The decoder takes what encoding/json takes: duplicate names (the last one
// counts), invalid UTF-8 and lone surrogates inside strings are a visitor's
// doing, not the API's, and cost no chatbot its numbers.
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
// jx is more than twice as fast on bytes that it has as on a stream, and then
// allocates nothing. So the decoder reads a buffer full, lets jx decode it as an
// array, and where jx meets the end of the buffer, moves the session that it was
// in to the front and reads on behind it. What counting does not need is skipped,
// never copied.
type sessionDecoder struct {
	source io.Reader
	yield  func(Session, error) bool
	json   jx.Decoder
	times  timeParser

	buffer []byte // an array's beginning: '[' and whole sessions, the last maybe in part
	offset int64  // of the buffer in the body
	isTail bool   // the buffer is what follows the array
	ended  bool   // the source has no more

	// mark is where in the buffer the first name of a session stands, with its
	// quote; decoding can begin anew there. It is 0 if there was none.
	mark int
	// decoded is how many sessions have been decoded since the mark, and known how
	// many of those in the buffer had been yielded before.
	decoded, known int
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
			// Of the wire's own errors the source tells itself; what is left is
			// what the decompression found.
			return errCorrupt
		}
	}
	return nil
}

// carry makes room in the buffer behind the part of it that is to be decoded anew.
func (d *sessionDecoder) carry() error {
	const opening = "[{"
	d.known = d.decoded
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
		// A larger buffer would let a larger session in.
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

// unmarked returns where decoding can begin anew behind sessions that begin with no
// name or one with escapes: at the session that the buffer ends in or else the one
// before. Only encoding/json tells; such sessions are rare, so it may be slow.
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
		d.known = 0
		return len(d.buffer) - len(next)
	}
	d.known = 1
	return end - len(session)
}

// end makes sure that nothing but white space follows the array.
func (d *sessionDecoder) end() error {
	// No further element is to be had, but an error that tells whether anything is.
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

// isEnd tells whether an error of jx is that there were no more bytes.
func isEnd(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// session reads one element of the array and yields it.
func (d *sessionDecoder) session(*jx.Decoder) error {
	switch d.json.Next() {
	case jx.Object:
	case jx.Invalid:
		return d.json.Skip() // which says what is wrong
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
			hasUUID = err == nil && uuid[0] == '"'
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
	if d.known > 0 {
		d.known--
		return nil
	}
	session.Malformed = !hasUUID || !hasCreated || !hasModified || metaMalformed
	if !d.yield(session, nil) {
		return errStopped
	}
	return nil
}

// markAt marks a session by its first name, if that is a part of the buffer and
// not a copy, as it is when it was written with escapes. Sessions of which none can
// be marked, as they have no names or begin with escaped ones, are found otherwise.
func (d *sessionDecoder) markAt(name []byte) {
	if at := cap(d.buffer) - cap(name); len(name) > 0 && at > 0 && at < len(d.buffer) && &d.buffer[at] == &name[0] {
		d.mark, d.decoded = at-len(`"`), 0
	}
}

// meta reads a session's meta member: whether it holds a lead and verified
// identity data, and whether it or either of them is neither object nor null.
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

// hasMember skips a value that is meant to be an object or null. It tells whether
// it is an object with at least one member, and whether it is something else.
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

// time reads a timestamp. Where the value is not one, ok is false.
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

// explain turns an error of this file or of the JSON decoder into an [*Error] with
// none of the decoder's words, which may quote the body.
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

// locate returns where in the buffer an error is. jx does not tell; encoding/json
// does, and here it may be slow.
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

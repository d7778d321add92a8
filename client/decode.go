package client

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// maxSessionSize is how many bytes of JSON a session may have. It bounds the
// decoder's memory whatever a server sends.
const maxSessionSize = 1 << 20

var (
	errEncoding  = errors.New("a Content-Encoding that was not asked for")
	errNotList   = errors.New("not a JSON array")
	errNotObject = errors.New("an element of the array is not an object")
	errTooLarge  = fmt.Errorf("a session of more than %d bytes", maxSessionSize)
	errSyntax    = errors.New("invalid JSON")
	errTruncated = errors.New("the body ends before the array does")
	errTrailing  = errors.New("more data after the array")
	errCorrupt   = errors.New("the compressed body is corrupt")
)

// decodeSessions yields the sessions of a JSON array as they are read from
// source. The first failure ends the sequence; it is an [*Error] with the reason
// InvalidResponse, whichever side of source it comes from.
//
// The decoder takes what encoding/json takes: duplicate names (the last one
// counts), invalid UTF-8 and lone surrogates inside strings are a visitor's
// doing, not the API's, and cost no chatbot its numbers.
func decodeSessions(source io.Reader) iter.Seq2[Session, error] {
	return func(yield func(Session, error) bool) {
		d := newSessionDecoder(source)
		fail := func(err error) { yield(Session{}, d.explain(err)) }

		if kind := d.json.PeekKind(); kind != '[' && kind != 0 {
			fail(errNotList)
			return
		}
		if _, err := d.json.ReadToken(); err != nil {
			fail(err)
			return
		}
		for d.json.PeekKind() != ']' {
			session, err := d.session()
			if err != nil {
				fail(err)
				return
			}
			if !yield(session, nil) {
				return
			}
		}
		if _, err := d.json.ReadToken(); err != nil {
			fail(err)
			return
		}
		if kind := d.json.PeekKind(); kind != 0 {
			fail(errTrailing)
			return
		}
		if _, err := d.json.ReadToken(); !errors.Is(err, io.EOF) {
			fail(err)
		}
	}
}

// sessionDecoder reads sessions with a jsontext.Decoder. What counting does not
// need is skipped, never copied.
type sessionDecoder struct {
	input    *boundedReader
	json     *jsontext.Decoder
	unquoted []byte // room for a string that was written with escapes
}

func newSessionDecoder(source io.Reader) *sessionDecoder {
	input := &boundedReader{source: source, limit: maxSessionSize}
	return &sessionDecoder{input: input, json: jsontext.NewDecoder(input,
		jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))}
}

// session reads one element of the array.
func (d *sessionDecoder) session() (Session, error) {
	if kind := d.json.PeekKind(); kind != '{' && kind != 0 {
		return Session{}, errNotObject
	}
	if _, err := d.json.ReadToken(); err != nil {
		return Session{}, err
	}
	d.input.limit = d.json.InputOffset() - 1 + maxSessionSize
	var (
		session                          Session
		hasUUID, hasCreated, hasModified bool
		metaMalformed                    bool
	)
	err := d.members(func() error {
		name, err := d.text()
		if err != nil {
			return err
		}
		switch string(name) {
		case "uuid":
			hasUUID = d.json.PeekKind() == '"'
			return d.json.SkipValue()
		case "created_at":
			session.Created, hasCreated, err = d.time()
		case "modified_at":
			session.Modified, hasModified, err = d.time()
		case "meta":
			session.HasLead, session.IdentityVerified, metaMalformed, err = d.meta()
		default:
			return d.json.SkipValue()
		}
		return err
	})
	d.input.limit = d.json.InputOffset() + maxSessionSize // for the white space behind it
	session.Malformed = !hasUUID || !hasCreated || !hasModified || metaMalformed
	return session, err
}

// meta reads a session's meta member: whether it holds a lead and verified
// identity data, and whether it or either of them is neither object nor null.
func (d *sessionDecoder) meta() (user, authData, malformed bool, err error) {
	var userMalformed, authDataMalformed bool
	switch d.json.PeekKind() {
	case '{':
		err = d.object(func() error {
			name, err := d.text()
			if err != nil {
				return err
			}
			switch string(name) {
			case "user":
				user, userMalformed, err = d.hasMember()
			case "auth_data":
				authData, authDataMalformed, err = d.hasMember()
			default:
				return d.json.SkipValue()
			}
			return err
		})
		return user, authData, userMalformed || authDataMalformed, err
	case 'n':
		return false, false, false, d.json.SkipValue()
	default:
		return false, false, true, d.json.SkipValue()
	}
}

// hasMember skips a value that is meant to be an object or null. It tells whether
// it is an object with at least one member, and whether it is something else.
func (d *sessionDecoder) hasMember() (has, malformed bool, err error) {
	switch d.json.PeekKind() {
	case '{':
		err = d.object(func() error {
			has = true
			if err := d.json.SkipValue(); err != nil { // the name
				return err
			}
			return d.json.SkipValue()
		})
		return has, false, err
	case 'n':
		return false, false, d.json.SkipValue()
	default:
		return false, true, d.json.SkipValue()
	}
}

// object reads an object, calling member at the start of each of its members to
// read name and value.
func (d *sessionDecoder) object(member func() error) error {
	if _, err := d.json.ReadToken(); err != nil {
		return err
	}
	return d.members(member)
}

// members reads what follows the opening brace of an object.
func (d *sessionDecoder) members(member func() error) error {
	for d.json.PeekKind() != '}' {
		if err := member(); err != nil {
			return err
		}
	}
	_, err := d.json.ReadToken()
	return err
}

// time reads a timestamp. Where the value is not one, ok is false.
func (d *sessionDecoder) time() (t time.Time, ok bool, err error) {
	if d.json.PeekKind() != '"' {
		return time.Time{}, false, d.json.SkipValue()
	}
	text, err := d.text()
	if err != nil {
		return time.Time{}, false, err
	}
	t, ok = parseTime(text)
	return t, ok, nil
}

// text reads a string, valid until the next read.
func (d *sessionDecoder) text() ([]byte, error) {
	value, err := d.json.ReadValue()
	if err != nil {
		return nil, err
	}
	if bytes.IndexByte(value, '\\') < 0 {
		return value[1 : len(value)-1], nil
	}
	// Its one error is about invalid UTF-8, which it replaces and goes on.
	d.unquoted, _ = jsontext.AppendUnquote(d.unquoted[:0], value)
	return d.unquoted, nil
}

// explain turns an error of this file, of the JSON decoder or of the input into
// an [*Error] with none of their words, which may quote the body.
func (d *sessionDecoder) explain(err error) *Error {
	failure := &Error{Reason: InvalidResponse, Status: http.StatusOK, Offset: d.json.InputOffset(), Err: err}
	var syntax *jsontext.SyntacticError
	switch {
	case errors.Is(err, errNotList), errors.Is(err, errNotObject), errors.Is(err, errTrailing):
	case d.input.err != nil:
		failure.Err = d.input.err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		failure.Err, failure.Transient = errTruncated, d.input.offset > 0
	case errors.As(err, &syntax):
		failure.Offset, failure.Err = syntax.ByteOffset, errSyntax
	}
	return failure
}

// boundedReader reads from source up to an offset that moves along with the
// sessions, and remembers why it stopped before the source's end.
type boundedReader struct {
	source io.Reader
	offset int64
	limit  int64
	err    error // errTooLarge, errCorrupt, or nil
}

func (r *boundedReader) Read(p []byte) (int, error) {
	room := r.limit - r.offset
	if room <= 0 {
		r.err = errTooLarge
		return 0, r.err
	}
	n, err := r.source.Read(p[:min(int64(len(p)), room)])
	r.offset += int64(n)
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return n, err
	}
	// Of the wire's own errors the source tells itself; what is left is what the
	// decompression found.
	r.err = errCorrupt
	return n, r.err
}

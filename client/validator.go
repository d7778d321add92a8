package client

import (
	"errors"
	"net/http"
)

// ErrNotModified says that a list is still the one that a Validator came with.
var ErrNotModified = errors.New("not modified")

// Validator tells one state of a list from another, where the server helps with
// that (RFC 9110, section 8.8). Its zero value is that of no list.
type Validator struct{ etag, lastModified string }

func newValidator(header http.Header) Validator {
	return Validator{etag: header.Get("ETag"), lastModified: header.Get("Last-Modified")}
}

// condition asks for a list other than the validator's.
func (v Validator) condition(header http.Header) {
	if v.etag != "" {
		header.Set("If-None-Match", v.etag)
	}
	if v.lastModified != "" {
		header.Set("If-Modified-Since", v.lastModified)
	}
}

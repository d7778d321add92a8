package client

import (
	"net/http"
	"strings"
	"time"
)

// Validator is the ETag and Last-Modified of a response (RFC 9110, section 8.8).
// Its zero value matches a response without either header.
type Validator struct{ etag, lastModified string }

// maxETag is the maximum length of an ETag that is sent back, in bytes.
const maxETag = 1 << 10

// newValidator returns the Validator of a response. It ignores a Last-Modified that is
// less than two seconds older than Date: the list may change again within the same
// second (RFC 9110, section 8.8.2.2).
func newValidator(header http.Header) Validator {
	v := Validator{etag: header.Get("ETag"), lastModified: header.Get("Last-Modified")}
	if len(v.etag) > maxETag || strings.ContainsAny(v.etag, "*,") {
		v.etag = "" // "*" matches any list, and some servers refuse long headers
	}
	at, hasDate := date(header, time.Time{})
	modified, err := http.ParseTime(v.lastModified)
	if !hasDate || err != nil || at.Sub(modified) < 2*time.Second {
		v.lastModified = ""
	}
	return v
}

// setConditions makes a request conditional: the response has status 304 if the
// list is the one of the validator.
func (v Validator) setConditions(header http.Header) {
	if v.etag != "" {
		header.Set("If-None-Match", v.etag)
	}
	if v.lastModified != "" {
		header.Set("If-Modified-Since", v.lastModified)
	}
}

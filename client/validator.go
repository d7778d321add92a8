package client

import "net/http"

// Validator is the ETag and Last-Modified of a response (RFC 9110, section 8.8).
// Its zero value is that of a response without either.
type Validator struct{ etag, lastModified string }

func newValidator(header http.Header) Validator {
	return Validator{etag: header.Get("ETag"), lastModified: header.Get("Last-Modified")}
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

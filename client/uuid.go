package client

import (
	"regexp"
	"strings"
)

// uuid is how a UUID is written: 32 hexadecimal digits, with or without dashes.
var uuid = regexp.MustCompile(`^[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}$`)

// CanonicalUUID returns the one spelling that stands for all of a UUID: lower case,
// without dashes. It tells whether text is a UUID at all.
func CanonicalUUID(text string) (canonical string, ok bool) {
	return strings.ToLower(strings.ReplaceAll(text, "-", "")), uuid.MatchString(text)
}

package client

import (
	"regexp"
	"strings"
)

// uuidPattern matches a UUID: 32 hexadecimal digits, with or without dashes.
var uuidPattern = regexp.MustCompile(`^[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}$`)

// IsUUID reports whether text is a UUID, in any spelling.
func IsUUID(text string) bool { return uuidPattern.MatchString(text) }

// CanonicalUUID returns a UUID in lower case and without dashes, so that different
// spellings can be compared.
func CanonicalUUID(uuid string) string { return strings.ToLower(strings.ReplaceAll(uuid, "-", "")) }

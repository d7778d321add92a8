package client

import (
	"regexp"
	"strings"
)

// uuid is how a UUID is written: 32 hexadecimal digits, with or without dashes.
var uuid = regexp.MustCompile(`^[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}$`)

// IsUUID tells whether text is a UUID, in any spelling.
func IsUUID(text string) bool { return uuid.MatchString(text) }

// CanonicalUUID returns the one spelling that stands for all of a UUID: lower case,
// without dashes.
func CanonicalUUID(uuid string) string { return strings.ToLower(strings.ReplaceAll(uuid, "-", "")) }

package settings

import (
	"errors"
	"slices"
	"strings"

	"github.com/alecthomas/kingpin/v2"
)

// Arguments returns arguments with the default command in front where they name
// none. Left to find the default by itself, kingpin takes no notice of a last flag
// that lacks its value.
func Arguments(app *kingpin.Application, arguments []string) []string {
	var standsAlone []string
	first := ""
	for _, command := range app.Model().Commands {
		standsAlone = append(standsAlone, command.Name)
		if command.Default {
			first = command.Name
		}
	}
	for _, flag := range app.Model().Flags {
		// Help, version and completion are about the program as a whole.
		if strings.HasPrefix(flag.Name, "help") || flag.Name == "version" || strings.HasPrefix(flag.Name, "completion") {
			standsAlone = append(standsAlone, "--"+flag.Name)
		}
	}
	standsAlone = append(standsAlone, "help", "-h")
	if slices.ContainsFunc(arguments, func(argument string) bool { return slices.Contains(standsAlone, argument) }) {
		return arguments
	}
	return append([]string{first}, arguments...)
}

// Unquoted returns an error of kingpin's without the argument that it quotes.
func Unquoted(err error) error {
	for _, beginning := range []string{"unexpected", "expected command"} {
		if strings.HasPrefix(err.Error(), beginning) {
			return errors.New("an argument is neither command nor flag; put the settings behind their flags")
		}
	}
	return err
}

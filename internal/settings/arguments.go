package settings

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kingpin/v2"
)

// Arguments returns arguments as kingpin takes them: with the default command in
// front where they name none, for left to find the default by itself kingpin takes no
// notice of a last flag that lacks its value; and with switches that have a value
// (--x=false) as those that have none (--no-x).
func Arguments(app *kingpin.Application, arguments []string) ([]string, error) {
	arguments = slices.Clone(arguments)
	var standsAlone []string
	first := ""
	for _, command := range app.Model().Commands {
		standsAlone = append(standsAlone, command.Name)
		if command.Default {
			first = command.Name
		}
	}
	for _, flag := range app.Model().Flags {
		for i, argument := range arguments {
			text, found := strings.CutPrefix(argument, "--"+flag.Name+"=")
			if !found || !flag.IsBoolFlag() {
				continue
			}
			on, err := strconv.ParseBool(text)
			if err != nil {
				return nil, fmt.Errorf("--%s: must be true or false", flag.Name)
			}
			arguments[i] = "--" + flag.Name
			if !on {
				arguments[i] = "--no-" + flag.Name
			}
		}
		// Help, version and completion are about the program as a whole.
		if strings.HasPrefix(flag.Name, "help") || flag.Name == "version" || strings.HasPrefix(flag.Name, "completion") {
			standsAlone = append(standsAlone, "--"+flag.Name)
		}
	}
	standsAlone = append(standsAlone, "help", "-h")
	if slices.ContainsFunc(arguments, func(argument string) bool { return slices.Contains(standsAlone, argument) }) {
		return arguments, nil
	}
	return append([]string{first}, arguments...), nil
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

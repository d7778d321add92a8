package flags

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kingpin/v2"
)

// Arguments returns arguments for kingpin. If they name no command, it adds the
// default command: if kingpin has to find the default itself, it ignores a last flag
// without its value. It replaces boolean flags with a value (--x=false) by flags
// without one (--no-x).
func Arguments(app *kingpin.Application, arguments []string) ([]string, error) {
	arguments = slices.Clone(arguments)
	var complete []string // arguments that need no default command
	first := ""
	for _, command := range app.Model().Commands {
		complete = append(complete, command.Name)
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
		if strings.HasPrefix(flag.Name, "help") || flag.Name == "version" || strings.HasPrefix(flag.Name, "completion") {
			complete = append(complete, "--"+flag.Name)
		}
	}
	complete = append(complete, "help", "-h")
	if slices.ContainsFunc(arguments, func(argument string) bool { return slices.Contains(complete, argument) }) {
		return arguments, nil
	}
	return append([]string{first}, arguments...), nil
}

// Unquoted returns an error of kingpin without the argument that it quotes.
func Unquoted(err error) error {
	for _, beginning := range []string{"unexpected", "expected command"} {
		if strings.HasPrefix(err.Error(), beginning) {
			return errors.New("an argument is neither command nor flag; write each setting after its flag")
		}
	}
	return err
}

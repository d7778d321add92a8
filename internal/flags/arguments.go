package flags

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"github.com/chatwize-exporter/chatwize_exporter/internal/setting"
)

// Parse parses the command line and the environment. It returns the command. For --help
// and the like it ends the process. Its errors quote only what [setting.Quotable] allows.
func Parse(app *kingpin.Application, arguments []string) (command string, err error) {
	if arguments, err = expanded(arguments); err != nil {
		return "", err
	}
	arguments = offeringCommands(app, arguments)
	if arguments, err = completed(app, arguments); err != nil {
		return "", err
	}
	if err := checkHelp(app, arguments); err != nil {
		return "", err
	}
	if err := trimEnvironment(app); err != nil {
		return "", err
	}
	if command, err = app.Parse(arguments); err != nil {
		if known := meant(app, arguments); known != "" && strings.HasPrefix(err.Error(), "unknown") {
			return "", errors.New("an argument is an unknown flag; perhaps --" + known + " is meant")
		}
		return "", unquoted(err)
	}
	return command, nil
}

// meant returns the flag that an unknown one is like: with one dash, with another separator,
// or with another end. It is empty if none is, or several are.
func meant(app *kingpin.Application, arguments []string) string {
	all := app.Model().Flags
	for _, command := range app.Model().Commands {
		all = append(all, command.Flags...)
	}
	letters := func(name string) string { return strings.NewReplacer("-", "", ".", "", "_", "").Replace(name) }
	for _, argument := range arguments {
		name, _, _ := strings.Cut(argument, "=")
		given := letters(name)
		if !strings.HasPrefix(name, "-") || len(given) < 2 || slices.ContainsFunc(all, func(f *kingpin.FlagModel) bool {
			return name == "--"+f.Name || name == "--no-"+f.Name && f.IsBoolFlag()
		}) {
			continue
		}
		var like []string
		for _, flag := range all {
			known := letters(flag.Name)
			if known == given {
				return flag.Name
			}
			if strings.HasPrefix(known, given) || strings.HasPrefix(given, known) {
				like = append(like, flag.Name)
			}
		}
		if len(like) == 1 {
			return like[0]
		}
		return ""
	}
	return ""
}

// trimEnvironment removes white space around the variables of all flags. Files and manifests
// often have a newline at the end, and kingpin takes variables as they are.
func trimEnvironment(app *kingpin.Application) error {
	for _, flag := range app.Model().Flags {
		text := os.Getenv(flag.Envar)
		if trimmed := strings.TrimSpace(text); trimmed != text {
			if err := os.Setenv(flag.Envar, trimmed); err != nil {
				return err
			}
		}
	}
	return nil
}

// expanded returns arguments with the lines of a file in place of each @FILE. kingpin
// does the same, but with errors that quote, and after the command is looked for.
func expanded(arguments []string) ([]string, error) {
	var all []string
	for i, argument := range arguments {
		file, found := strings.CutPrefix(argument, "@")
		switch {
		case argument == "--":
			return append(all, arguments[i:]...), nil
		case !found:
			all = append(all, argument)
		default:
			if !setting.IsSmallFile(file) {
				return nil, errors.New(unreadable)
			}
			lines, err := kingpin.ExpandArgsFromFile(file)
			if err != nil {
				return nil, errors.New(unreadable)
			}
			all = append(all, lines...)
		}
	}
	return all, nil
}

const unreadable = "the file of an argument that begins with @ cannot be read; name a file with one argument a line, or remove the argument"

// completed returns arguments for kingpin. If they name no command, it adds the default
// command: if kingpin has to find the default itself, it ignores a last flag without its
// value. It replaces boolean flags with a value (--x=false) by flags without one (--no-x).
func completed(app *kingpin.Application, arguments []string) ([]string, error) {
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

// offeringCommands returns arguments that make kingpin offer the commands to a shell, if the
// last word may become one. With that word, kingpin takes the default command as given.
func offeringCommands(app *kingpin.Application, arguments []string) []string {
	const completion = "--completion-bash"
	if len(arguments) == 0 || arguments[0] != completion {
		return arguments
	}
	words := arguments[1:]
	last := max(len(words)-1, 0)
	for i, word := range words {
		flag := app.GetFlag(strings.TrimPrefix(word, "--"))
		switch {
		case i == last && strings.HasPrefix(word, "-"),
			i < last && app.GetCommand(word) != nil && word != "help",
			i == last-1 && strings.HasPrefix(word, "--") && flag != nil && !flag.Model().IsBoolFlag():
			return arguments
		}
	}
	return []string{completion}
}

// checkHelp returns an error if the command help gets anything but one command: kingpin
// would quote it, or ignore it, and end the process.
func checkHelp(app *kingpin.Application, arguments []string) error {
	context, err := app.ParseContext(arguments)
	if context == nil || context.SelectedCommand != app.HelpCommand {
		return nil // Parse returns the error
	}
	if err != nil {
		return unquoted(err)
	}
	helped := 0
	for _, element := range context.Elements {
		if _, ok := element.Clause.(*kingpin.ArgClause); !ok {
			continue
		}
		if helped++; helped > 1 || app.GetCommand(*element.Value) == nil {
			return errors.New("help: expects the name of a command, or nothing")
		}
	}
	return nil
}

// Errors of kingpin about flags and about other arguments.
var (
	aboutFlag     = regexp.MustCompile(`^(?:unknown long flag|expected argument for flag|flag) '([^']*)'(?: cannot be repeated)?$`)
	aboutArgument = regexp.MustCompile(`^(?:unexpected|expected command but got) "?(.*?)"?$`)
)

// unquoted returns an error of kingpin, without the argument that it quotes unless that is
// [setting.Quotable].
func unquoted(err error) error {
	if value := (valueError{}); errors.As(err, &value) {
		return err
	}
	text := err.Error()
	if match := aboutFlag.FindStringSubmatch(text); match != nil && setting.Quotable(match[1]) {
		return err
	}
	switch match := aboutArgument.FindStringSubmatch(text); {
	case strings.HasPrefix(text, "unknown"):
		return errors.New("an argument is an unknown flag")
	case strings.HasPrefix(text, "failed to"): // a file that a file of arguments names
		return errors.New(unreadable)
	case match != nil && setting.Quotable(match[1]):
		return fmt.Errorf("%q is neither command nor flag; write each setting after its flag", match[1])
	default:
		return errors.New("an argument is neither command nor flag; write each setting after its flag")
	}
}

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"text/template"

	"github.com/alecthomas/kingpin/v2"
)

// usageTemplate is kingpin's default template, except that a command has its own flags
// first, and of the shared ones only those that it uses.
const usageTemplate = `usage: {{.App.Name}}
{{- with .Context.SelectedCommand}} {{.Name}} [<flags>]{{range .Args}} [<{{.Name}}>]{{end}}

{{.Help|Wrap 0}}
{{- with .Flags}}
Flags of this command:
{{.|FlagsToTwoColumns|FormatTwoColumns}}
{{- end}}
Flags:
{{UsedFlags .Name $.App.Flags|FlagsToTwoColumns|FormatTwoColumns}}
{{- else}} [<flags>] <command> [<args> ...]

{{.App.Help|Wrap 0}}
Flags:
{{.App.Flags|FlagsToTwoColumns|FormatTwoColumns}}
Commands:
{{- range .App.Commands}}
  {{.Name}}{{if .Default}}*{{end}}{{with .FlagSummary}} {{.}}{{end}}
{{.Help|Wrap 4}}
{{- end}}{{end}}`

// manTemplate is the man page. kingpin's has no environment variables, no section NAME as
// whatis needs it, and several lines as the version.
const manTemplate = `{{define "flags"}}{{range .Flags}}{{if not .Hidden -}}
.TP
\fB{{if .Short}}-{{.Short|Char}}, {{end}}--{{.Name}}{{if not .IsBoolFlag}}={{.FormatPlaceHolder}}{{end}}\fR
{{.HelpWithEnvar}}
{{end}}{{end}}{{end -}}
.TH {{.App.Name}} 1
.SH "NAME"
{{.App.Name}} \- Prometheus exporter for Chatwize chatbots
.SH "SYNOPSIS"
\fB{{.App.Name}}\fR [<flags>] <command> [<args> ...]
.SH "DESCRIPTION"
{{.App.Help}}
.SH "OPTIONS"
{{template "flags" .App -}}
.SH "COMMANDS"
{{range .App.Commands -}}
.SS
\fB{{.Name}}{{with .FlagSummary}} {{.}}{{end}}\fR
.PP
{{.Help}}
{{template "flags" . -}}
{{end}}`

// ignoredFlags has, for each command, prefixes of the shared flags that it ignores.
var ignoredFlags = map[string][]string{
	demoCommand:        {"config.", "chatwize.url", "chatwize.token-file", "chatwize.chatbot"},
	checkCommand:       ignoredByOneShot,
	backfillCommand:    ignoredByOneShot,
	healthcheckCommand: {"config.", "chatwize.", "web.telemetry-path", "web.max-requests", "log."},
}

// ignoredByOneShot is for commands that fetch each list once and serve nothing.
var ignoredByOneShot = []string{"web.", "chatwize.timeout-offset", "chatwize.cache-ttl", "chatwize.discovery-interval",
	"chatwize.window", "chatwize.full-interval", "chatwize.probe-only"}

// usedFlags returns the shared flags that a command uses.
func usedFlags(command string, shared []*kingpin.FlagModel) []*kingpin.FlagModel {
	return slices.DeleteFunc(slices.Clone(shared), func(flag *kingpin.FlagModel) bool {
		return slices.ContainsFunc(ignoredFlags[command], func(prefix string) bool { return strings.HasPrefix(flag.Name, prefix) })
	})
}

// printed are the arguments that print something else than the help of a command.
var printed = map[string]string{
	"--help-long":              kingpin.LongHelpTemplate,
	"--help-man":               manTemplate,
	"--completion-script-bash": kingpin.BashCompletionTemplate,
	"--completion-script-zsh":  kingpin.ZshCompletionTemplate,
}

// addHelp makes app write its help to stdout, and end the process after that. It does so at
// once if arguments ask for what kingpin writes to another place.
func addHelp(app *kingpin.Application, arguments []string, stdout io.Writer) error {
	help := &helpWriter{out: stdout}
	app.UsageWriter(help).UsageTemplate(usageTemplate).UsageFuncs(template.FuncMap{"UsedFlags": usedFlags}).Terminate(help.exit)
	if len(arguments) != 1 || printed[arguments[0]] == "" {
		return nil
	}
	context, err := app.ParseContext(nil)
	if err != nil {
		return err
	}
	if err := app.UsageForContextWithTemplate(context, 2, printed[arguments[0]]); err != nil {
		return err
	}
	help.exit(0)
	return nil
}

// helpWriter remembers the first error of writing help. kingpin ignores it or panics.
type helpWriter struct {
	out io.Writer
	err error
}

func (h *helpWriter) Write(text []byte) (int, error) {
	if h.err == nil {
		_, h.err = h.out.Write(text)
	}
	return len(text), nil
}

// exit ends the process, with status 1 if the help could not be written.
func (h *helpWriter) exit(status int) {
	if h.err != nil {
		cause := h.err
		if file := (*fs.PathError)(nil); errors.As(h.err, &file) {
			cause = file.Err
		}
		fmt.Fprintf(os.Stderr, "%s: error: writing to standard output: %s\n", program, cause)
		status = 1
	}
	os.Exit(status)
}

package flags

import (
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kingpin/v2"
)

// proxyVariables are the environment variables with the address of a proxy, which Go reads.
var proxyVariables = []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"}

// Given are the texts that a user gave for flags.
type Given struct {
	app      *kingpin.Application
	elements []*kingpin.ParseElement
}

// NewGiven returns the texts for the flags of app. They are known after [Parse].
func NewGiven(app *kingpin.Application) *Given {
	given := &Given{app: app}
	app.PreAction(func(context *kingpin.ParseContext) error {
		given.elements = context.Elements
		return nil
	})
	return given
}

// Set returns the name of a flag or of its environment variable, whichever a user gave, or
// nothing if it is not given.
func (g *Given) Set(flag string) (name string) {
	for _, element := range g.elements {
		if clause, ok := element.Clause.(*kingpin.FlagClause); ok && clause.Model().Name == flag {
			return "--" + flag
		}
	}
	for _, model := range g.app.Model().Flags {
		if model.Name == flag && model.Envar != "" && os.Getenv(model.Envar) != "" {
			return model.Envar
		}
	}
	return ""
}

// Find returns the first flag or environment variable, also of a proxy, whose text matches.
func (g *Given) Find(matches func(text string) bool) (name string, found bool) {
	for _, element := range g.elements {
		if flag, ok := element.Clause.(*kingpin.FlagClause); ok && element.Value != nil && matches(*element.Value) {
			return "--" + flag.Model().Name, true
		}
	}
	variables := slices.Clone(proxyVariables)
	for _, flag := range g.app.Model().Flags {
		if flag.Envar != "" {
			variables = append(variables, flag.Envar)
		}
	}
	for _, variable := range variables {
		if matches(os.Getenv(variable)) {
			return variable, true
		}
	}
	return "", false
}

// serviceVariable matches the variables that Kubernetes sets for a service.
var serviceVariable = regexp.MustCompile(`_(?:SERVICE_HOST|SERVICE_PORT(?:_.+)?|PORT(?:_[0-9]+_(?:TCP|UDP|SCTP)(?:_.+)?)?)$`)

// Unknown returns the environment variables that begin with prefix and set no flag, without
// known ones and those of Kubernetes services.
func (g *Given) Unknown(prefix string, known ...string) (names []string) {
	for _, flag := range g.app.Model().Flags {
		known = append(known, flag.Envar)
	}
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, prefix) && !slices.Contains(known, name) && !serviceVariable.MatchString(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

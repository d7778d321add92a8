package flags

import (
	"os"
	"slices"

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

// Command enforce reads rules from standard input and writes them as an operator changes them who
// forces a label onto rules and series: the Prometheus Operator (enforcedNamespaceLabel) and
// prom-label-proxy use this library. It is a module of its own because the library needs an older
// Prometheus than the tests.
//
//	enforce NAME VALUE <rules.yml
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/prometheus-community/prom-label-proxy/injectproxy"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"gopkg.in/yaml.v3"
)

func main() {
	if err := enforce(os.Args[1], os.Args[2], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func enforce(name, value string, in io.Reader, out io.Writer) error {
	var rules rulefmt.RuleGroups
	if err := yaml.NewDecoder(in).Decode(&rules); err != nil {
		return err
	}
	enforcer := injectproxy.NewPromQLEnforcer(false, labels.MustNewMatcher(labels.MatchEqual, name, value))
	for _, group := range rules.Groups {
		for i := range group.Rules {
			rule := &group.Rules[i]
			expression, err := enforcer.Enforce(rule.Expr)
			if err != nil {
				return err
			}
			rule.Expr = expression
			if rule.Labels == nil {
				rule.Labels = map[string]string{}
			}
			rule.Labels[name] = value
		}
	}
	return yaml.NewEncoder(out).Encode(rules)
}

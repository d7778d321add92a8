// Command oldest loads configurations, with their rules, as the oldest Prometheus does that is
// known to work: 2.42, which Debian 12 has. It is a module of its own because of that version.
//
//	oldest prometheus.yml…
package main

import (
	"fmt"
	"os"

	"github.com/go-kit/log"
	"github.com/prometheus/prometheus/config"
	_ "github.com/prometheus/prometheus/discovery/http" // http_sd_configs
	"github.com/prometheus/prometheus/model/rulefmt"
)

func main() {
	for _, path := range os.Args[1:] {
		loaded, err := config.LoadFile(path, false, true, log.NewNopLogger())
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		for _, rules := range loaded.RuleFiles {
			if _, errs := rulefmt.ParseFile(rules); len(errs) > 0 {
				fmt.Fprintln(os.Stderr, rules, errs)
				os.Exit(1)
			}
		}
	}
}

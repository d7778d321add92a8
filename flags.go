package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/common/version"
	toolkit "github.com/prometheus/exporter-toolkit/web"
	"github.com/prometheus/exporter-toolkit/web/kingpinflag"

	"github.com/chatwize-exporter/chatwize_exporter/collector"
	"github.com/chatwize-exporter/chatwize_exporter/internal/accounts"
	"github.com/chatwize-exporter/chatwize_exporter/internal/backfill"
	"github.com/chatwize-exporter/chatwize_exporter/internal/check"
	"github.com/chatwize-exporter/chatwize_exporter/internal/fetch"
	"github.com/chatwize-exporter/chatwize_exporter/internal/flags"
	"github.com/chatwize-exporter/chatwize_exporter/internal/healthcheck"
	"github.com/chatwize-exporter/chatwize_exporter/internal/web"
)

// The commands.
const (
	serveCommand       = "serve"
	demoCommand        = "demo"
	checkCommand       = "check"
	backfillCommand    = "backfill"
	healthcheckCommand = "healthcheck"
)

// tokenVariable is the environment variable that may hold the API key. There is no
// flag for the key, because others can see flags in the list of processes.
const tokenVariable = "CHATWIZE_TOKEN"

// inlineKey returns the API key of the environment variable, empty if there is none.
func inlineKey() string { return strings.TrimSpace(os.Getenv(tokenVariable)) }

// settings are the command and the values of all flags.
type settings struct {
	command string
	given   *flags.Given
	// account is the account of the flags, or what accounts of a file do not set.
	account     accounts.Config
	tokenFile   string
	configFile  string
	configCheck bool     // only check the configuration
	only        []string // the accounts to check or backfill; none: all
	demo        []accounts.Config
	demoSize    int // number of accounts
	web         web.Options
	listen      *toolkit.FlagConfig
	// webConfigGiven is whether --web.config.file is on the command line.
	webConfigGiven bool
	// servesTLS is whether the web configuration has TLS.
	servesTLS   bool
	check       check.Command
	backfill    backfill.Command
	healthcheck healthcheck.Command

	logLevel, logFormat string
}

// parse parses the command line and the environment. For --help and the like it
// writes to stdout and ends the process.
func parse(arguments []string, stdout io.Writer) (*settings, error) {
	s := &settings{}
	app := s.newApp()
	err := addHelp(app, arguments, stdout)
	if err != nil {
		return nil, err
	}
	if s.command, err = flags.Parse(app, arguments); err != nil {
		return nil, err
	}
	return s, cmp.Or(checkIncremental(s.account.Source), s.checkConfigFile())
}

// checkIncremental returns an error about flags that do not make an incremental mode.
func checkIncremental(options fetch.SourceOptions) error {
	switch {
	case options.Window == 0:
		return nil
	case options.Window < accounts.MinWindow:
		return fmt.Errorf("--chatwize.window (CHATWIZE_WINDOW): is too short; minimum %s, or 0 to fetch full lists only", accounts.MinWindow)
	case options.FullInterval == 0:
		return errors.New("--chatwize.full-interval (CHATWIZE_FULL_INTERVAL): must be above 0 with --chatwize.window; write a duration such as 1h")
	}
	return nil
}

// newApp returns the commands and flags, which write into the settings.
func (s *settings) newApp() *kingpin.Application {
	app := kingpin.New(program, "Prometheus exporter for Chatwize chatbots: sessions, leads and verified identities.\n\n"+
		"The API key is read from the file that --chatwize.token-file names, or from $"+tokenVariable+".").
		Version(version.Print(program))
	app.HelpFlag.Short('h')
	s.addCommands(app)
	s.addAccountFlags(app)
	s.addWebFlags(app)
	s.addLogFlags(app)
	s.given = flags.NewGiven(app)
	return app
}

func (s *settings) addCommands(app *kingpin.Application) {
	app.Command(serveCommand, "Serve the metrics of the account's chatbots.").Default()
	demoFlags := app.Command(demoCommand, "Serve the metrics of a simulated account, whatever account is set. One of its chatbots fails for 20 seconds every five minutes.")
	flags.Int(demoFlags.Flag("accounts",
		"Number of simulated accounts. Several have names, as those of --config.file.").
		Default("1"), &s.demoSize, 1)

	checkFlags := app.Command(checkCommand, "Fetch every chatbot once and print a table; exit with status 1 if any fetch failed.")
	flags.OneOf(checkFlags.Flag("format",
		"Output format: table, json.").
		Default("table"), &s.check.Format, check.Formats...)
	s.addOnly(checkFlags)

	backfillFlags := app.Command(backfillCommand, "Write the past as OpenMetrics, to import into Prometheus with promtool: "+
		"at each step the sessions created until then, and those of them that have a lead or a verified identity today. "+
		"Deleted sessions are missing, as the API does not list them. "+
		"A lead or a verified identity counts from the creation of its session. "+
		"Each list is fetched as a whole; raise --chatwize.timeout for long ones.")
	flags.Time(backfillFlags.Flag("start",
		"Time of the first sample: a date (in UTC), a time in RFC 3339 or Unix time in seconds. Default: the first session of the ten years before --end. Earlier sessions, and those without a readable creation time, count from there on.").
		PlaceHolder("TIME"), &s.backfill.Start)
	flags.Time(backfillFlags.Flag("end",
		"Time of the last sample: a date (in UTC), a time in RFC 3339 or Unix time in seconds. Default: now.").
		PlaceHolder("TIME"), &s.backfill.End)
	flags.Duration(backfillFlags.Flag("step",
		"Time between samples. Prometheus shows gaps if it is more than 5m.").
		Default("5m"), &s.backfill.Step, time.Second)
	flags.Labels(backfillFlags.Flag("label",
		"Label of all series. Repeatable. Give job and instance as in the scrape configuration, so that past and live series are the same.").
		PlaceHolder("NAME=VALUE"), &s.backfill.Labels, collector.ChatbotLabel, collector.WindowLabel)
	backfillFlags.Flag("output",
		"File to write, as a whole or not at all. An existing file keeps its mode. Default: standard output.").
		PlaceHolder("FILE").StringVar(&s.backfill.Output)
	flags.Bool(backfillFlags.Flag("skip-failed",
		"Write the past of the chatbots that can be read, if others cannot; exit with status 1 then. By default nothing is written."), &s.backfill.SkipFailed)
	s.addOnly(backfillFlags)

	healthcheckFlags := app.Command(healthcheckCommand, "Ask a running exporter whether it serves; exit with status 1 if it does not. "+
		"Any answer below 500 will do, 401 too, as will a request for a client certificate. No API key is needed.")
	flags.Text(healthcheckFlags.Flag("url",
		"Where the exporter is. Default: the first --web.listen-address on this machine, https if --web.config.file configures TLS. The certificate is not checked.").
		PlaceHolder("URL"), &s.healthcheck.URL, healthcheck.CheckURL)
}

// addOnly adds the flag that selects accounts to a command.
func (s *settings) addOnly(command *kingpin.CmdClause) {
	flags.Texts(command.Flag("account",
		"Account of --config.file to cover. Repeatable. Default: all.").
		PlaceHolder("NAME"), &s.only, func(string) error { return nil })
}

func (s *settings) addAccountFlags(app *kingpin.Application) {
	account := &s.account
	account.UserAgent = version.ComponentUserAgent(program)
	app.Flag("config.file",
		"File with several accounts. Excludes --chatwize.url, --chatwize.token-file and --chatwize.chatbot. SIGHUP and POST /-/reload read it again.").
		Envar("CHATWIZE_CONFIG_FILE").PlaceHolder("FILE").StringVar(&s.configFile)
	flags.Bool(app.Flag("config.check",
		"Check the configuration file, the web configuration and the key files, and exit. The API is not asked."), &s.configCheck)
	flags.BaseURL(app.Flag("chatwize.url",
		"Base URL of the Chatwize API.").
		Envar("CHATWIZE_URL").Default("https://app.chatwize.ai"), &account.URL, "--chatwize.token-file")
	app.Flag("chatwize.token-file",
		"File that holds the API key. It is read again when it changes.").
		Envar("CHATWIZE_TOKEN_FILE").PlaceHolder("FILE").StringVar(&s.tokenFile)
	flags.Chatbots(app.Flag("chatwize.chatbot",
		"Chatbot to fetch. Repeatable; in the environment separated by commas or newlines. Default: all of the account.").
		Envar("CHATWIZE_CHATBOTS").PlaceHolder("UUID[=NAME]"), &account.Chatbots)
	flags.Pattern(app.Flag("chatwize.include",
		"Of the discovered chatbots, only those whose UUID or name matches this regular expression (RE2, anchored at both ends).").
		Envar("CHATWIZE_INCLUDE").PlaceHolder("REGEX"), &account.Include)
	flags.Pattern(app.Flag("chatwize.exclude",
		"Of the discovered chatbots, none whose UUID or name matches this regular expression (RE2, anchored at both ends).").
		Envar("CHATWIZE_EXCLUDE").PlaceHolder("REGEX"), &account.Exclude)
	flags.Duration(app.Flag("chatwize.timeout",
		"Maximum duration of a fetch. The scrape timeout of Prometheus shortens it.").
		Envar("CHATWIZE_TIMEOUT").Default("30s"), &account.Timeout, accounts.MinTimeout)
	flags.Duration(app.Flag("chatwize.timeout-offset",
		"Subtracted from the scrape timeout of Prometheus, so that the response arrives in time. At most half of the timeout is subtracted.").
		Envar("CHATWIZE_TIMEOUT_OFFSET").Default("500ms"), &s.web.TimeoutOffset, 0)
	flags.Int(app.Flag("chatwize.concurrency",
		"Maximum number of concurrent requests to the API, over all scrapes; for each account.").
		Envar("CHATWIZE_CONCURRENCY").Default("4"), &account.Concurrency, 1)
	flags.Duration(app.Flag("chatwize.cache-ttl",
		"How long the numbers of a chatbot may be served again; 0: every scrape fetches.").
		Envar("CHATWIZE_CACHE_TTL").Default("0s"), &account.Source.CacheTTL, 0)
	flags.Duration(app.Flag("chatwize.discovery-interval",
		"How long a discovered list of chatbots is kept.").
		Envar("CHATWIZE_DISCOVERY_INTERVAL").Default("5m"), &account.DiscoveryInterval, 0)
	flags.Duration(app.Flag("chatwize.window",
		"Incremental mode: between full fetches, fetch only sessions younger than this, at least 5m; 0: off.").
		Envar("CHATWIZE_WINDOW").Default("0s"), &account.Source.Window, 0)
	flags.Duration(app.Flag("chatwize.full-interval",
		"In incremental mode, time from one full fetch to the next.").
		Envar("CHATWIZE_FULL_INTERVAL").Default("1h"), &account.Source.FullInterval, 0)
	flags.Bool(app.Flag("chatwize.probe-only",
		"Serve chatbots on /probe only. --web.telemetry-path then has the metrics of the exporter itself only.").
		Envar("CHATWIZE_PROBE_ONLY"), &s.web.ProbeOnly)
}

func (s *settings) addWebFlags(app *kingpin.Application) {
	flags.Text(app.Flag("web.telemetry-path",
		"Path under which the metrics are served.").
		Envar("CHATWIZE_WEB_TELEMETRY_PATH").Default("/metrics"), &s.web.TelemetryPath, web.CheckTelemetryPath)
	flags.Int(app.Flag("web.max-requests",
		"Maximum number of requests for --web.telemetry-path at a time. Ten times as many are allowed for /probe, and 40 for / and /sd together. More get status 503; 0: no limit.").
		Envar("CHATWIZE_WEB_MAX_REQUESTS").Default("40"), &s.web.MaxRequests, 0)
	s.listen = kingpinflag.AddFlags(app, ":10113")
	// Errors of exporter-toolkit and of kingpin would quote the value, and not name the flag.
	flags.Texts(app.GetFlag("web.listen-address").Envar("CHATWIZE_WEB_LISTEN_ADDRESS"), s.listen.WebListenAddresses, checkListenAddress)
	if socket := app.GetFlag("web.systemd-socket"); socket != nil { // only on Linux
		flags.Bool(socket.Envar("CHATWIZE_WEB_SYSTEMD_SOCKET"), s.listen.WebSystemdSocket)
	}
	app.GetFlag("web.config.file").Envar("CHATWIZE_WEB_CONFIG_FILE").IsSetByUser(&s.webConfigGiven)
}

func (s *settings) addLogFlags(app *kingpin.Application) {
	flags.OneOf(app.Flag("log.level",
		"Only log messages of this severity or above: debug, info, warn, error.").
		Envar("CHATWIZE_LOG_LEVEL").Default("info"), &s.logLevel, "debug", "info", "warn", "error")
	flags.OneOf(app.Flag("log.format",
		"Format of log messages: logfmt, json.").
		Envar("CHATWIZE_LOG_FORMAT").Default("logfmt"), &s.logFormat, "logfmt", "json")
}

// variableName matches the names of environment variables that a log line may quote.
var variableName = regexp.MustCompile(`^[A-Z_]{1,40}$`)

// warnOfVariables logs a warning about environment variables that look like those of flags.
func (s *settings) warnOfVariables(logger log.Logger) {
	const prefix = "CHATWIZE_"
	for _, name := range s.given.Unknown(prefix, tokenVariable) {
		if !variableName.MatchString(name) {
			name = prefix + "…" // it may hold an API key
		}
		level.Warn(logger).Log("msg", "Ignoring an unknown environment variable", "variable", name,
			"hint", "write its name as --help does, or remove it")
	}
}

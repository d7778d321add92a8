// Chatwize_exporter is a Prometheus exporter for Chatwize chatbots.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/prometheus/common/version"
	toolkit "github.com/prometheus/exporter-toolkit/web"
	"github.com/prometheus/exporter-toolkit/web/kingpinflag"
	"github.com/schollz/progressbar/v3"
	sloggokit "github.com/tjhop/slog-gokit"
	"golang.org/x/term"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/collector"
	"github.com/chatwize-exporter/chatwize_exporter/internal/apimetrics"
	"github.com/chatwize-exporter/chatwize_exporter/internal/backfill"
	"github.com/chatwize-exporter/chatwize_exporter/internal/check"
	"github.com/chatwize-exporter/chatwize_exporter/internal/settings"
	"github.com/chatwize-exporter/chatwize_exporter/internal/simulator"
	"github.com/chatwize-exporter/chatwize_exporter/internal/web"
)

const (
	program = "chatwize_exporter"
	// shutdownTimeout is how long running scrapes may go on after SIGTERM.
	shutdownTimeout = 5 * time.Second
)

// account is what the exporter needs to know of the chatbots and how to ask for them.
type account struct {
	url      *url.URL
	key      func(context.Context) (string, error)
	chatbots collector.Chatbots // none: those that the API lists
}

// options are the settings of the exporter itself.
type options struct {
	telemetryPath          string
	probeOnly              bool
	concurrency            int
	timeout, timeoutOffset time.Duration
	cacheTTL               time.Duration
	discoveryInterval      time.Duration
	window, fullInterval   time.Duration
}

func main() {
	setVersion()
	var (
		app = kingpin.New(program, "Prometheus exporter for Chatwize chatbots: sessions, leads and verified identities.\n\n"+
			"The API key is read from the file that --chatwize.token-file names, or from $"+settings.TokenVariable+".").
			Version(version.Print(program)).
			UsageWriter(os.Stdout)

		serveCommand = app.Command("serve", "Serve the metrics of the account's chatbots.").Default()
		demoCommand  = app.Command("demo", "Serve the metrics of a simulated account, whatever account is set.")
		checkCommand = app.Command("check", "Ask the API once for every chatbot and print a table; exit with status 1 if any failed.")
		checkFormat  = settings.OneOf(checkCommand.Flag("format",
			"Format of what is printed: table, json.").
			Default("table"), "table", "json")

		backfillCommand = app.Command("backfill", "Write the past as OpenMetrics, for promtool to make history of: "+
			"at each step the sessions created until then, and those of them that have a lead or a verified identity today. "+
			"What the API does not tell is not known: sessions that were deleted are missing, "+
			"and a lead or a verified identity counts from when its session was created. "+
			"Each list is fetched as a whole; raise --chatwize.timeout for long ones.")
		backfillStart = settings.Time(backfillCommand.Flag("start",
			"First sample: a date (in UTC) or a time in RFC 3339. Default: the first session. Sessions before it, and those without a readable creation time, count from there on.").
			PlaceHolder("TIME"))
		backfillEnd = settings.Time(backfillCommand.Flag("end",
			"Last sample, likewise. Default: now.").
			PlaceHolder("TIME"))
		backfillStep = settings.Duration(backfillCommand.Flag("step",
			"Time from one sample to the next. Prometheus shows gaps where it is more than 5m.").
			Default("5m"), time.Second)
		backfillLabels = settings.Labels(backfillCommand.Flag("label",
			"Label of all series. Repeatable. History and live series are one where job and instance are what the scrape configuration gives.").
			PlaceHolder("NAME=VALUE"))
		backfillOutput = backfillCommand.Flag("output",
			"File to write, whole or not at all. Default: standard output.").
			PlaceHolder("FILE").String()

		apiURL = settings.BaseURL(app.Flag("chatwize.url",
			"Base URL of the Chatwize API.").
			Envar("CHATWIZE_URL").Default("https://app.chatwize.ai"))
		tokenFile = app.Flag("chatwize.token-file",
			"File that holds the API key; it is read again when it changes.").
			Envar("CHATWIZE_TOKEN_FILE").PlaceHolder("FILE").String()
		chatbots = settings.NewChatbots(app.Flag("chatwize.chatbot",
			"Chatbot to show. Repeatable; in the environment separated by commas or newlines. Without any, all of the account.").
			Envar("CHATWIZE_CHATBOTS").PlaceHolder("UUID[=NAME]"))
		timeout = settings.Duration(app.Flag("chatwize.timeout",
			"Longest a fetch may take. Prometheus's own scrape timeout shortens it.").
			Envar("CHATWIZE_TIMEOUT").Default("30s"), time.Millisecond)
		timeoutOffset = settings.Duration(app.Flag("chatwize.timeout-offset",
			"Taken off Prometheus's scrape timeout, so that the answer is there in time.").
			Envar("CHATWIZE_TIMEOUT_OFFSET").Default("500ms"), 0)
		concurrency = settings.Int(app.Flag("chatwize.concurrency",
			"Most requests to the API at a time, over all scrapes.").
			Envar("CHATWIZE_CONCURRENCY").Default("4"), 1)

		cacheTTL = settings.Duration(app.Flag("chatwize.cache-ttl",
			"How long a chatbot's numbers may be served again; 0: every scrape fetches.").
			Envar("CHATWIZE_CACHE_TTL").Default("0s"), 0)
		discoveryInterval = settings.Duration(app.Flag("chatwize.discovery-interval",
			"How long a discovered list of chatbots is kept.").
			Envar("CHATWIZE_DISCOVERY_INTERVAL").Default("5m"), 0)
		window = settings.Duration(app.Flag("chatwize.window",
			"Incremental mode: fetch only sessions younger than this between full fetches; 0: off.").
			Envar("CHATWIZE_WINDOW").Default("0s"), 0)
		fullInterval = settings.Duration(app.Flag("chatwize.full-interval",
			"In incremental mode, how often the whole list is fetched again.").
			Envar("CHATWIZE_FULL_INTERVAL").Default("1h"), 0)
		probeOnly = settings.Bool(app.Flag("chatwize.probe-only",
			"Show chatbots on /probe alone, and the exporter's own metrics on --web.telemetry-path.").
			Envar("CHATWIZE_PROBE_ONLY"))

		telemetryPath = settings.Text(app.Flag("web.telemetry-path",
			"Path under which the metrics are served.").
			Default("/metrics"), web.CheckTelemetryPath)
		listen = kingpinflag.AddFlags(app, ":10113")

		logLevel = settings.OneOf(app.Flag("log.level",
			"Only log messages of this severity or above: debug, info, warn, error.").
			Default("info"), "debug", "info", "warn", "error")
		logFormat = settings.OneOf(app.Flag("log.format",
			"Format of log messages: logfmt, json.").
			Default("logfmt"), "logfmt", "json")
	)
	app.HelpFlag.Short('h')
	var command string
	arguments, err := settings.Arguments(app, os.Args[1:])
	if err == nil {
		command, err = app.Parse(arguments)
	}
	if err != nil {
		app.Fatalf("%s, try --help", settings.Unquoted(err))
	}
	// net/http writes there what a server sends unasked.
	stdlog.SetOutput(io.Discard)

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)

	logger, slogger := newLoggers(os.Stderr, *logFormat, *logLevel)
	options := options{
		telemetryPath:     *telemetryPath,
		probeOnly:         *probeOnly,
		concurrency:       *concurrency,
		timeout:           *timeout,
		timeoutOffset:     *timeoutOffset,
		cacheTTL:          *cacheTTL,
		discoveryInterval: *discoveryInterval,
		window:            *window,
		fullInterval:      *fullInterval,
	}
	var shown account
	if command == demoCommand.FullCommand() {
		shown, err = startDemo()
		app.FatalIfError(err, "demo")
	} else {
		key, err := settings.Key(ctx, *tokenFile, os.Getenv(settings.TokenVariable))
		app.FatalIfError(err, "")
		shown = account{url: *apiURL, key: key, chatbots: chatbots.List()}
	}
	if settings.IsPlaintext(shown.url) {
		level.Warn(logger).Log("msg", "The API key is sent unencrypted", "todo", "use https in --chatwize.url")
	}

	switch command {
	case checkCommand.FullCommand():
		healthy, err := runCheck(ctx, shown, options, *checkFormat, *logFormat, *logLevel)
		app.FatalIfError(err, "check")
		if !healthy {
			os.Exit(1)
		}
	case backfillCommand.FullCommand():
		past := backfill.Config{Start: *backfillStart, End: *backfillEnd, Step: *backfillStep, Labels: backfillLabels}
		app.FatalIfError(runBackfill(ctx, shown, options, past, *backfillOutput, *logFormat, *logLevel), "backfill")
	case serveCommand.FullCommand(), demoCommand.FullCommand():
		if err := toolkit.Validate(*listen.WebConfigFile); err != nil {
			app.Fatalf("--web.config.file: %s; mend that file or leave out the flag", strings.Join(strings.Fields(err.Error()), " "))
		}
		handler, err := newHandler(shown, options, logger)
		app.FatalIfError(err, "")
		level.Info(logger).Log("msg", "Starting "+program, "version", version.Info(), "api", shown.url, "chatbots", shown.count())
		if err := serve(ctx, stop, handler, listen, logger, slogger); err != nil {
			level.Error(logger).Log("msg", "Cannot serve", "err", err, "todo", "check --web.listen-address, --web.config.file and --web.systemd-socket")
			os.Exit(1)
		}
	}
}

// count returns how many chatbots an account has, as far as is known at the start.
func (a account) count() any {
	if len(a.chatbots) == 0 {
		return "to be discovered"
	}
	return len(a.chatbots)
}

// setVersion takes the version from the module where the build did not stamp one.
func setVersion() {
	if info, ok := debug.ReadBuildInfo(); ok && version.Version == "" {
		version.Version = strings.Trim(strings.TrimPrefix(info.Main.Version, "v"), "()")
	}
}

// newLoggers returns the process's logger, and one for exporter-toolkit that
// writes through it.
func newLoggers(writer io.Writer, format, minimum string) (log.Logger, *slog.Logger) {
	writer = log.NewSyncWriter(writer)
	logger := log.NewLogfmtLogger(writer)
	if format == "json" {
		logger = log.NewJSONLogger(writer)
	}
	logger = level.NewFilter(logger, level.Allow(level.ParseDefault(minimum, level.InfoValue())))
	// The go-kit level filters for both; slog adds the time itself.
	slogger := slog.New(sloggokit.NewGoKitHandler(logger, slog.LevelDebug))
	return log.With(logger, slog.TimeKey, log.DefaultTimestampUTC), slogger
}

// newSource returns the source of an account's summaries and the directory of its
// chatbots, with their metrics in registry.
func newSource(shown account, options options, registry *prometheus.Registry, logger log.Logger) (*collector.Source, collector.Directory) {
	source := collector.NewSource(collector.SourceConfig{
		API: client.New(client.Config{
			URL:       shown.url,
			Key:       shown.key,
			UserAgent: version.ComponentUserAgent(program),
			Transport: apimetrics.Instrument(client.NewTransport(options.concurrency), registry),
		}),
		Concurrency:  options.concurrency,
		Timeout:      options.timeout,
		CacheTTL:     options.cacheTTL,
		Window:       options.window,
		FullInterval: options.fullInterval,
		Registerer:   registry,
		Logger:       logger,
	})
	if len(shown.chatbots) > 0 {
		return source, shown.chatbots
	}
	discovery := collector.NewDiscovery(source, options.discoveryInterval)
	registry.MustRegister(discovery)
	return source, discovery
}

// newHandler returns the handler of all endpoints for the chatbots of an account.
func newHandler(shown account, options options, logger log.Logger) (http.Handler, error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		versioncollector.NewCollector(program),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	source, directory := newSource(shown, options, registry, logger)
	return web.NewHandler(web.Config{
		TelemetryPath: options.telemetryPath,
		Directory:     directory,
		Chatbots:      collector.New(source, directory),
		ProbeOnly:     options.probeOnly,
		Registry:      registry,
		TimeoutOffset: options.timeoutOffset,
		Logger:        logger,
	})
}

// runCheck prints how an account's chatbots are doing, and tells whether all are
// doing well. What is logged meanwhile comes after the progress and before the rest.
func runCheck(ctx context.Context, shown account, options options, format, logFormat, logLevel string) (healthy bool, err error) {
	var logged bytes.Buffer
	logger, _ := newLoggers(&logged, logFormat, logLevel)
	source, directory := newSource(shown, options, prometheus.NewRegistry(), logger)
	chatbots, err := directory.Chatbots(ctx)
	if err != nil {
		_, _ = logged.WriteTo(os.Stderr) // which says what to do
		return false, fmt.Errorf("discovering the chatbots: %w", err)
	}
	progress := newProgress(len(chatbots), "asking for chatbots")
	results := check.Run(ctx, source, chatbots, func() { _ = progress.Add(1) })
	_ = progress.Finish()
	if ctx.Err() != nil {
		return false, errors.New("interrupted")
	}
	_, _ = logged.WriteTo(os.Stderr)
	write := check.WriteTable
	if format == "json" {
		write = check.WriteJSON
	}
	if err := write(os.Stdout, results); err != nil {
		return false, err
	}
	return !slices.ContainsFunc(results, func(r check.Result) bool { return !r.OK() }), nil
}

// runBackfill writes the past of an account's chatbots, to standard output where
// output names no file. What is logged meanwhile comes after the progress.
func runBackfill(ctx context.Context, shown account, options options, past backfill.Config, output, logFormat, logLevel string) error {
	now := time.Now().Truncate(time.Second)
	if past.End.IsZero() {
		past.End = now
	}
	switch {
	case past.End.After(now):
		return errors.New("--end: lies in the future; leave it out to write until now")
	case past.Start.After(past.End):
		return errors.New("--end: is before --start; give a later one, or an earlier --start")
	}
	out, keep := io.Writer(os.Stdout), func() error { return nil }
	cannotWrite := func(err error) error { return fmt.Errorf("writing to standard output: %w", err) }
	if output != "" {
		cannotWrite = func(err error) error {
			return fmt.Errorf("--output: cannot be written: %w; name a file in a folder that is there, yours and has room", err)
		}
		file, err := backfill.Create(output)
		if err != nil {
			return cannotWrite(err)
		}
		defer file.Discard()
		out, keep = file, file.Keep
	}

	var logged bytes.Buffer
	logger, _ := newLoggers(&logged, logFormat, logLevel)
	source, directory := newSource(shown, options, prometheus.NewRegistry(), logger)
	chatbots, err := directory.Chatbots(ctx)
	switch {
	case err != nil:
		_, _ = logged.WriteTo(os.Stderr) // which says what to do
		return fmt.Errorf("discovering the chatbots: %w", err)
	case len(chatbots) == 0:
		return errors.New("the account has no chatbots; check --chatwize.url and whose the API key is")
	}
	progress := newProgress(-1, "reading sessions")
	tell := func(doing string) func(collector.Chatbot, int) {
		return func(chatbot collector.Chatbot, more int) {
			progress.Describe(doing + " of " + chatbot.UUID)
			_ = progress.Add(more)
		}
	}
	past.Source, past.Chatbots, past.Logger = source, chatbots, logger
	past.Sessions, past.Samples = tell("reading sessions"), tell("writing samples")
	read, err := backfill.Read(ctx, past)
	_ = progress.Finish()
	if err != nil {
		return err
	}
	progress = newProgress(read.MaxSamples(), "writing samples")
	err = read.Write(ctx, out)
	_ = progress.Finish()
	_, _ = logged.WriteTo(os.Stderr)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err == nil:
		err = keep()
	}
	if err != nil {
		return cannotWrite(err)
	}
	return nil
}

// newProgress returns a bar, or a spinner where the end is -1, that is shown while
// something goes on, if there is somebody to see it.
func newProgress(end int, doing string) *progressbar.ProgressBar {
	return progressbar.NewOptions(end, progressbar.OptionSetWriter(os.Stderr),
		progressbar.OptionSetDescription(doing), progressbar.OptionShowCount(), progressbar.OptionThrottle(50*time.Millisecond),
		progressbar.OptionSetVisibility(term.IsTerminal(int(os.Stderr.Fd()))), progressbar.OptionClearOnFinish())
}

// startDemo starts a simulated account on a loopback port, for as long as the
// process runs, and returns how to reach it.
func startDemo() (account, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return account{}, err
	}
	key := rand.Text()
	demo := simulator.Demo(key, time.Now())
	go func() { _ = http.Serve(listener, demo) }()
	return account{
		url: &url.URL{Scheme: "http", Host: listener.Addr().String()},
		key: func(context.Context) (string, error) { return key, nil },
	}, nil
}

// lineWriter logs each line that the standard library's logger writes to it.
type lineWriter struct{ log.Logger }

func (w lineWriter) Write(line []byte) (int, error) {
	return len(line), w.Log("msg", strings.TrimSpace(string(line)))
}

// serve serves handler until ctx ends, and then for as long as running scrapes
// need, up to shutdownTimeout. stop lets a second signal end the process at once.
func serve(ctx context.Context, stop func(), handler http.Handler, listen *toolkit.FlagConfig, logger log.Logger, slogger *slog.Logger) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,

		DisableGeneralOptionsHandler: true,
		ErrorLog:                     stdlog.New(lineWriter{level.Warn(logger)}, "", 0),
	}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		stop()
		level.Info(logger).Log("msg", "Shutting down", "grace", shutdownTimeout)
		deadline, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
		defer cancel()
		stopped <- server.Shutdown(deadline)
	}()
	err := toolkit.ListenAndServe(server, listen, slogger)
	if !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	if err := <-stopped; err != nil {
		level.Warn(logger).Log("msg", "Scrapes were cut off", "err", err)
	}
	return nil
}

package main

import (
	"context"
	"errors"
	stdlog "log"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/prometheus/common/version"
	toolkit "github.com/prometheus/exporter-toolkit/web"

	"github.com/chatwize-exporter/chatwize_exporter/internal/accounts"
	"github.com/chatwize-exporter/chatwize_exporter/internal/setting"
	"github.com/chatwize-exporter/chatwize_exporter/internal/web"
)

// shutdownTimeout is how long running scrapes may go on after a signal.
const shutdownTimeout = 5 * time.Second

// serve serves the metrics of accounts until ctx ends, and then until running scrapes
// end or shutdownTimeout has passed.
func serve(ctx context.Context, settings *settings, manager *accounts.Manager, hangups chan os.Signal, logger log.Logger, slogger *slog.Logger) error {
	if err := settings.checkWebConfig(ctx, logger); err != nil {
		return err
	}
	slogger = slog.New(webConfigFilter{slogger.Handler()})
	handler, err := newHandler(manager, settings.servesFile(), settings.web, logger)
	if err != nil {
		return err
	}
	server := newServer(handler, slog.NewLogLogger(newLimitedHandler(slogger.Handler()), slog.LevelWarn))
	starting := []any{"msg", "Starting " + program}
	if page := settings.pageURL(); page != "" {
		starting = append(starting, "page", page)
	}
	level.Info(logger).Log(append(append(starting, "version", version.Info()), shown(manager.Current())...)...)

	defer onHangup(hangups, settings.hangup(ctx, manager, logger))()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // if it cannot listen
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		deadline, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
		defer cancel()
		stopped <- server.Shutdown(deadline)
	}()
	if err := toolkit.ListenAndServe(server, settings.listen, slogger); !errors.Is(err, http.ErrServerClosed) {
		problem, hint := serveProblem(err)
		level.Error(logger).Log("msg", "Cannot serve", "err", problem, "hint", hint)
		return errFailed
	}
	level.Info(logger).Log("msg", "Shutting down", "grace", shutdownTimeout)
	if err := <-stopped; err != nil {
		level.Warn(logger).Log("msg", "Scrapes were cut off", "err", err)
	}
	return nil
}

// serveProblem returns why the exporter cannot serve, and what to do about it.
func serveProblem(err error) (problem, hint string) {
	if problem, hint, ok := listenProblem(err); ok {
		return problem, hint
	}
	const check = "check --web.config.file and --web.systemd-socket"
	if problem, known := toolkitProblem(err.Error()); known {
		return problem, check
	}
	if system := (*os.SyscallError)(nil); errors.As(err, &system) {
		return system.Error(), check
	}
	return "the sockets or the web configuration cannot be used", check
}

// newServer returns a server that limits how long and how much clients may send.
func newServer(handler http.Handler, errorLog *stdlog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10, // bytes
		ConnContext:       web.ConnContext,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: 10, // each takes about 20 KiB, if its response is not read
			// Ends connections that take nothing of what no handler waits for.
			WriteByteTimeout: 30 * time.Second,
		},

		DisableGeneralOptionsHandler: true,
		ErrorLog:                     errorLog,
	}
}

// newHandler returns the handler of all endpoints for accounts. Those of a file can be
// reloaded.
func newHandler(manager *accounts.Manager, ofFile bool, options web.Options, logger log.Logger) (http.Handler, error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		versioncollector.NewCollector(program),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	config := web.Config{Options: options, Accounts: manager.Current, Registry: registry, Logger: logger}
	if ofFile {
		registry.MustRegister(manager)
		config.Reload, config.ReloadFailure = manager.Reload, manager.Failure
	}
	return web.NewHandler(config)
}

// shown returns what the log says of accounts at start.
func shown(set *accounts.Set) []any {
	if set.Named() {
		return []any{"accounts", len(set.Accounts)}
	}
	config, chatbots := set.Accounts[0].Config(), "to be discovered"
	if n := len(config.Chatbots); n > 0 {
		chatbots = strconv.Itoa(n)
	}
	return []any{"api", setting.ShownURL(config.URL), "chatbots", chatbots}
}

// hangup returns what SIGHUP does.
func (s *settings) hangup(ctx context.Context, manager *accounts.Manager, logger log.Logger) func() {
	if !s.servesFile() {
		return func() {
			level.Info(logger).Log("msg", "Ignoring SIGHUP", "hint", "restart the exporter to change its settings")
		}
	}
	return func() { _ = manager.Reload(ctx) } // which logs its error
}

// servesFile reports whether the accounts are those of a configuration file.
func (s *settings) servesFile() bool { return s.configFile != "" && s.command != demoCommand }

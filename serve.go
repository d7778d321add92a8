package main

import (
	"context"
	"crypto/rand"
	"errors"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"net/url"
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
	"github.com/chatwize-exporter/chatwize_exporter/internal/flags"
	"github.com/chatwize-exporter/chatwize_exporter/internal/simulator"
	"github.com/chatwize-exporter/chatwize_exporter/internal/web"
)

// shutdownTimeout is how long running scrapes may go on after a signal.
const shutdownTimeout = 5 * time.Second

// staleAge is the age of numbers at which ChatwizeNumbersOld fires.
const staleAge = 15 * time.Minute

// serve serves the metrics of an account until ctx ends, and then until running scrapes
// end or shutdownTimeout has passed.
func serve(ctx context.Context, settings *settings, account accounts.Config, logger log.Logger, slogger *slog.Logger) error {
	if err := settings.checkWebConfig(logger); err != nil {
		return err
	}
	if account.Source.CacheTTL >= staleAge {
		level.Warn(logger).Log("msg", "The cache keeps numbers so long that the alert ChatwizeNumbersOld fires",
			"hint", "set --chatwize.cache-ttl below "+staleAge.String())
	}
	slogger = slog.New(webConfigFilter{slogger.Handler()})
	handler, err := newHandler(account, settings.web, logger)
	if err != nil {
		return err
	}
	server := newServer(handler, slog.NewLogLogger(slogger.Handler(), slog.LevelWarn))
	chatbots := "to be discovered"
	if n := len(account.Chatbots); n > 0 {
		chatbots = strconv.Itoa(n)
	}
	level.Info(logger).Log("msg", "Starting "+program, "version", version.Info(), "api", flags.ShownURL(account.URL), "chatbots", chatbots)

	defer logHangups(logger)()
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

// newHandler returns the handler of all endpoints for an account.
func newHandler(config accounts.Config, options web.Options, logger log.Logger) (http.Handler, error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		versioncollector.NewCollector(program),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	account := accounts.New(config, registry, logger)
	return web.NewHandler(web.Config{
		Options:   options,
		Directory: account.Directory,
		Source:    account.Source,
		Registry:  registry,
		Logger:    logger,
	})
}

// startDemo starts a simulated account on a loopback port, and makes account that one.
func startDemo(account *accounts.Config) (stop func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	key := rand.Text()
	server := &http.Server{Handler: simulator.Demo(key, time.Now())}
	go func() { _ = server.Serve(listener) }()
	account.URL = &url.URL{Scheme: "http", Host: listener.Addr().String()}
	account.Key = accounts.InlineKey(key)
	account.Chatbots = nil
	return func() { _ = server.Close() }, nil
}

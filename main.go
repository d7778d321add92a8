// Chatwize_exporter is a Prometheus exporter for Chatwize chatbots.
package main

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/version"

	"github.com/chatwize-exporter/chatwize_exporter/internal/accounts"
	"github.com/chatwize-exporter/chatwize_exporter/internal/flags"
	"github.com/chatwize-exporter/chatwize_exporter/internal/healthcheck"
	"github.com/chatwize-exporter/chatwize_exporter/internal/progress"
	"github.com/chatwize-exporter/chatwize_exporter/internal/secret"
)

const program = "chatwize_exporter"

func main() {
	setVersion()
	// net/http logs unexpected data from servers there, which may be personal.
	stdlog.SetOutput(io.Discard)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// released is the version that is released next, or was released last.
//
//go:embed VERSION
var released string

// setVersion sets the version, unless the build has set it.
func setVersion() {
	version.Version = cmp.Or(version.Version, strings.TrimSpace(released))
}

// errFailed is the error of a command that has said what failed.
var errFailed = errors.New("failed")

// run runs the command that arguments name, until it is done or ctx ends. It returns
// the exit status of the process.
func run(ctx context.Context, arguments []string, stdout, stderr io.Writer) int {
	keys := &secret.Keys{}
	keys.Add(strings.TrimSpace(os.Getenv(tokenVariable)))
	settings, err := parse(arguments, stdout)
	if err != nil {
		_, _ = fmt.Fprintf(keys.Writer(stderr), "%s: error: %s, try --help\n", program, err)
		return 1
	}
	settings.account.Keys = keys
	terminal := progress.New(stderr)
	if err := runCommand(ctx, settings, stdout, terminal); err != nil {
		if !errors.Is(err, errFailed) {
			_, _ = fmt.Fprintf(keys.Writer(terminal), "%s: error: %s\n", program, err)
		}
		return 1
	}
	return 0
}

// runCommand runs the command of the settings.
func runCommand(ctx context.Context, settings *settings, stdout io.Writer, terminal *progress.Terminal) error {
	if settings.command == healthcheckCommand { // it needs no account
		return withCommand(healthcheckCommand, settings.runHealthcheck(ctx))
	}
	account := settings.account
	logger, slogger := newLoggers(account.Keys.Writer(terminal), settings.logFormat, settings.logLevel)
	if settings.command == demoCommand {
		stop, err := startDemo(&account)
		if err != nil {
			return fmt.Errorf("demo: %w", err)
		}
		defer stop()
	} else if err := settings.setKey(ctx, &account); err != nil {
		return err
	}
	if err := settings.checkMisplaced(account.Keys); err != nil {
		return err
	}
	if flags.IsPlaintext(account.URL) {
		level.Warn(logger).Log("msg", "The API key is sent unencrypted", "hint", "use https in --chatwize.url")
	}
	if settings.command == checkCommand || settings.command == backfillCommand {
		var stop func()
		ctx, stop = untilHangup(ctx)
		defer stop()
	}
	if settings.command == backfillCommand && settings.backfill.Output != "" {
		var stop func()
		ctx, stop = untilBrokenPipe(ctx)
		defer stop()
	}
	switch settings.command {
	case checkCommand:
		return runCheck(ctx, settings, account, stdout, terminal, logger)
	case backfillCommand:
		err := settings.backfill.Run(ctx, newAccount(account, logger), stdout, terminal, logger)
		return withCommand(backfillCommand, err)
	default:
		return serve(ctx, settings, account, logger, slogger)
	}
}

func runCheck(ctx context.Context, settings *settings, account accounts.Config, stdout io.Writer, terminal *progress.Terminal, logger log.Logger) error {
	ok, err := settings.check.Run(ctx, newAccount(account, logger), stdout, terminal)
	if err == nil && !ok {
		err = errFailed
	}
	return withCommand(checkCommand, err)
}

// runHealthcheck asks the exporter at --url or, without it, where the same settings would
// make it listen.
func (s *settings) runHealthcheck(ctx context.Context) error {
	if s.healthcheck.URL == "" {
		config, err := s.readWebConfig()
		if err != nil {
			return err
		}
		if *s.listen.WebSystemdSocket {
			return errors.New("systemd has the address; give --url")
		}
		addresses := *s.listen.WebListenAddresses
		if s.healthcheck.URL, err = healthcheck.BaseURL(addresses[0], config.TLSConfig.IsEnabled()); err != nil {
			return err
		}
	}
	return s.healthcheck.Run(ctx)
}

// newAccount returns an account whose metrics nobody sees.
func newAccount(config accounts.Config, logger log.Logger) *accounts.Account {
	return accounts.New(config, prometheus.NewRegistry(), logger)
}

// withCommand adds the name of a command to an error.
func withCommand(command string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	return nil
}

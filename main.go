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
	"github.com/prometheus/common/version"

	"github.com/chatwize-exporter/chatwize_exporter/internal/accounts"
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
	keys.Add(inlineKey())
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
	logger, slogger := newLoggers(settings.account.Keys.Writer(terminal), settings.logFormat, settings.logLevel)
	if settings.command == demoCommand {
		stop, err := settings.startDemo()
		if err != nil {
			return fmt.Errorf("demo: %w", err)
		}
		defer stop()
	}
	settings.warnOfVariables(logger)
	var hangups chan os.Signal
	if settings.command == serveCommand || settings.command == demoCommand {
		hangups = catchHangups()
		defer signal.Stop(hangups)
	}
	manager, err := settings.newManager(ctx, logger)
	if err != nil {
		return err
	}
	if settings.configCheck {
		return settings.finishCheck(ctx, manager, logger)
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
		return withCommand(checkCommand, settings.runCheck(ctx, manager, stdout, terminal))
	case backfillCommand:
		return withCommand(backfillCommand, settings.runBackfill(ctx, manager, stdout, terminal, logger))
	default:
		return serve(ctx, settings, manager, hangups, logger, slogger)
	}
}

// finishCheck ends --config.check, after the accounts have been loaded.
func (s *settings) finishCheck(ctx context.Context, manager *accounts.Manager, logger log.Logger) error {
	_, err := s.selected(manager.Current())
	if err == nil {
		err = s.checkWebConfig(ctx, logger)
	}
	if err == nil {
		level.Info(logger).Log("msg", "The configuration is valid")
	}
	return err
}

func (s *settings) runCheck(ctx context.Context, manager *accounts.Manager, stdout io.Writer, terminal *progress.Terminal) error {
	set, err := s.selected(manager.Current())
	if err != nil {
		return err
	}
	return outcome(s.check.Run(ctx, set, stdout, terminal))
}

func (s *settings) runBackfill(ctx context.Context, manager *accounts.Manager, stdout io.Writer, terminal *progress.Terminal, logger log.Logger) error {
	set, err := s.selected(manager.Current())
	if err != nil {
		return err
	}
	return outcome(s.backfill.Run(ctx, set, stdout, terminal, logger))
}

// outcome returns the error of a command, errFailed if it has none but did not succeed.
func outcome(ok bool, err error) error {
	if err == nil && !ok {
		return errFailed
	}
	return err
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

// withCommand adds the name of a command to an error.
func withCommand(command string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	return nil
}

package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log/level"
)

// Both loggers write lines of the same format, of the minimum level or above, each
// with its time.
func TestLoggers(t *testing.T) {
	levels := []string{"debug", "info", "warn", "error"}
	for _, format := range []string{"logfmt", "json"} {
		for i, minimum := range levels {
			t.Run(format+" "+minimum, func(t *testing.T) {
				var log strings.Builder
				logger, slogger := newLoggers(&log, format, minimum)
				begun := time.Now().Truncate(time.Second)
				for _, method := range []func(...any) error{
					level.Debug(logger).Log, level.Info(logger).Log, level.Warn(logger).Log, level.Error(logger).Log,
				} {
					_ = method("msg", "a message", "n", 1)
				}
				for _, method := range []func(string, ...any){slogger.Debug, slogger.Info, slogger.Warn, slogger.Error} {
					method("a message", "n", 1)
				}
				var got []string
				for line := range strings.Lines(log.String()) {
					entry := parseLine(t, format, line)
					at, err := time.Parse(time.RFC3339Nano, entry["time"])
					if err != nil || at.Before(begun) || entry["msg"] != "a message" || entry["n"] != "1" ||
						strings.Count(line, "time") != 1 {
						t.Errorf("logged %s", line)
					}
					got = append(got, entry["level"])
				}
				if want := slices.Repeat(levels[i:], 2); !slices.Equal(got, want) {
					t.Errorf("logged %q, want %q", got, want)
				}
			})
		}
	}
}

// parseLine returns the keys and values of a line of a log.
func parseLine(t *testing.T, format, line string) map[string]string {
	t.Helper()
	entry := map[string]string{}
	if format == "json" {
		var values map[string]any
		if err := json.Unmarshal([]byte(line), &values); err != nil {
			t.Errorf("%q: %v", line, err)
		}
		for name, value := range values {
			entry[name] = strings.ToLower(fmt.Sprint(value))
		}
		entry["time"] = strings.ToUpper(entry["time"])
		return entry
	}
	for _, field := range strings.Fields(strings.ReplaceAll(line, `"a message"`, "a_message")) {
		name, value, _ := strings.Cut(field, "=")
		entry[name] = strings.ReplaceAll(value, "_", " ")
	}
	return entry
}

// Clients cannot fill the log with errors of their connections.
func TestLimitedHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		_, slogger := newLoggers(&log, "logfmt", "info")
		logger := slog.NewLogLogger(newLimitedHandler(slogger.Handler()), slog.LevelWarn)
		for minute, want := range []int{10, 1, 1} {
			for range 1000 {
				logger.Print("http: TLS handshake error from 127.0.0.1:1: EOF")
			}
			if got := strings.Count(log.String(), "level=warn"); got != want {
				t.Errorf("minute %d: logged %d lines, want %d", minute, got, want)
			}
			log.Reset()
			time.Sleep(time.Minute)
		}
	})
}

package main

import (
	"io"
	"log/slog"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	sloggokit "github.com/tjhop/slog-gokit"
)

// newLoggers returns a logger that writes to writer, and one for exporter-toolkit that
// logs through it.
func newLoggers(writer io.Writer, format, minimum string) (log.Logger, *slog.Logger) {
	writer = log.NewSyncWriter(writer)
	logger := log.NewLogfmtLogger(writer)
	if format == "json" {
		logger = log.NewJSONLogger(writer)
	}
	logger = level.NewFilter(logger, level.Allow(level.ParseDefault(minimum, level.InfoValue())))
	// The filter of logger applies to both. slog adds the time itself.
	slogger := slog.New(sloggokit.NewGoKitHandler(logger, slog.LevelDebug))
	return log.With(logger, slog.TimeKey, log.DefaultTimestampUTC), slogger
}

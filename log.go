package main

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	sloggokit "github.com/tjhop/slog-gokit"
	"golang.org/x/time/rate"
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

// limitedHandler passes ten records on, and then one a minute: clients can make the server
// log an error for each connection.
type limitedHandler struct {
	slog.Handler
	sometimes rate.Sometimes
}

func newLimitedHandler(handler slog.Handler) *limitedHandler {
	return &limitedHandler{handler, rate.Sometimes{First: 10, Interval: time.Minute}}
}

// Handle handles a record, or leaves it out.
func (h *limitedHandler) Handle(ctx context.Context, record slog.Record) (err error) {
	h.sometimes.Do(func() { err = h.Handler.Handle(ctx, record) })
	return err
}

package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// catchHangups returns a channel of SIGHUPs, which no longer end the process. On Windows there
// is no such signal.
func catchHangups() chan os.Signal {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	return hangups
}

// onHangup calls f for each of hangups until stop is called.
func onHangup(hangups chan os.Signal, f func()) (stop func()) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range hangups {
			f()
		}
	}()
	return func() {
		signal.Stop(hangups)
		close(hangups)
		<-ended
	}
}

// untilBrokenPipe returns a context that also ends with SIGPIPE, such as after a write to a
// closed log pipe. By default, SIGPIPE ends the process at once and leaves temporary files.
func untilBrokenPipe(ctx context.Context) (_ context.Context, stop func()) {
	return signal.NotifyContext(ctx, syscall.SIGPIPE)
}

// untilHangup returns a context that also ends with SIGHUP, unless the process was started
// to ignore it, as by nohup. A second one ends the process at once.
func untilHangup(ctx context.Context) (_ context.Context, stop func()) {
	if signal.Ignored(syscall.SIGHUP) {
		return ctx, func() {}
	}
	ctx, stop = signal.NotifyContext(ctx, syscall.SIGHUP)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// Package progress shows a progress bar and log lines on the same terminal.
package progress

import (
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// Unknown is the total of a bar whose end is not known.
const Unknown = -1

// Terminal is an [io.Writer] for log lines that clears a bar before it writes. It is
// safe for concurrent use.
type Terminal struct {
	visible bool // whether bars are shown

	mutex    sync.Mutex
	out      io.Writer
	occupied bool // whether a bar is on the current line
}

// New returns a Terminal that writes to out. It shows bars only if out is a terminal.
func New(out io.Writer) *Terminal {
	file, isFile := out.(*os.File)
	return &Terminal{out: out, visible: isFile && term.IsTerminal(int(file.Fd()))}
}

// Write writes a log line.
func (t *Terminal) Write(line []byte) (int, error) {
	const clearLine = "\r\x1b[2K"
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.occupied {
		_, _ = io.WriteString(t.out, clearLine)
		t.occupied = false
	}
	return t.out.Write(line)
}

// Bar starts a progress bar, which its Finish method clears. A total of [Unknown]
// shows a spinner instead.
func (t *Terminal) Bar(total int64, description string) *progressbar.ProgressBar {
	return progressbar.NewOptions64(total, progressbar.OptionSetWriter(barWriter{t}),
		progressbar.OptionSetDescription(description), progressbar.OptionShowCount(),
		progressbar.OptionThrottle(50*time.Millisecond),
		progressbar.OptionSetVisibility(t.visible), progressbar.OptionClearOnFinish())
}

// barWriter writes what a bar draws.
type barWriter struct{ terminal *Terminal }

func (b barWriter) Write(p []byte) (int, error) {
	b.terminal.mutex.Lock()
	defer b.terminal.mutex.Unlock()
	b.terminal.occupied = true
	return b.terminal.out.Write(p)
}

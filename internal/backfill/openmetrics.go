package backfill

import (
	"bufio"
	"context"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/chatwize-exporter/chatwize_exporter/collector"
	"github.com/chatwize-exporter/chatwize_exporter/internal/accounts"
	"github.com/chatwize-exporter/chatwize_exporter/internal/tally"
)

// Write writes the past as OpenMetrics 1.0 until ctx ends. It calls onWritten with the
// number of samples of a chatbot that were written since the last call.
func (p *Past) Write(ctx context.Context, out io.Writer, onWritten func(chatbot Chatbot, samples int)) error {
	buffered := bufio.NewWriterSize(out, 1<<16)
	// OpenMetrics wants the samples of a metric, and of a series, side by side.
	metrics := collector.DatedMetrics()
	for len(metrics) > 0 {
		first := metrics[0]
		n := 1 // metrics that differ only in the window
		for n < len(metrics) && metrics[n].Name == first.Name {
			n++
		}
		// A buffered writer returns its first error at Flush, too.
		_, _ = buffered.WriteString("# HELP " + first.Name + " " + escape(first.Help) + "\n" +
			"# TYPE " + first.Name + " gauge\n")
		for i, chatbot := range p.Chatbots {
			for _, metric := range metrics[:n] {
				if err := p.writeSeries(ctx, buffered, metric, i, func(samples int) { onWritten(chatbot, samples) }); err != nil {
					return err
				}
			}
		}
		metrics = metrics[n:]
	}
	_, _ = buffered.WriteString("# EOF\n")
	return buffered.Flush()
}

// writeSeries writes a metric of the i-th chatbot.
func (p *Past) writeSeries(ctx context.Context, out *bufio.Writer, metric collector.Metric, i int, onWritten func(samples int)) error {
	const often = 1 << 12
	series := metric.Name + labels(p.Labels, p.Chatbots[i], metric.Window) + " "
	part := partOf(metric)
	var line []byte
	var numbers tally.Numbers
	written := 0
	for moment := range p.chatbots[i].At(p.moments()) {
		part.compute(&numbers, moment)
		value, ok := metric.Value(&numbers)
		if !ok {
			continue
		}
		line = append(line[:0], series...)
		line = strconv.AppendFloat(line, value, 'f', -1, 64)
		line = append(line, ' ')
		line = appendTimestamp(line, moment.Time)
		line = append(line, '\n')
		if _, err := out.Write(line); err != nil {
			return err
		}
		if written++; written%often == 0 {
			onWritten(often)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
		}
	}
	onWritten(written % often)
	return nil
}

// appendTimestamp appends a time in seconds, with milliseconds if there are any.
func appendTimestamp(line []byte, moment time.Time) []byte {
	line = strconv.AppendInt(line, moment.Unix(), 10)
	if milliseconds := moment.Nanosecond() / 1e6; milliseconds > 0 {
		line = append(line, '.', '0'+byte(milliseconds/100), '0'+byte(milliseconds/10%10), '0'+byte(milliseconds%10))
	}
	return line
}

// labels returns the labels of a series of a chatbot.
func labels(given model.LabelSet, chatbot Chatbot, window string) string {
	all := model.LabelSet{collector.ChatbotLabel: model.LabelValue(chatbot.UUID)}.Merge(given)
	if chatbot.Account != "" {
		all[accounts.Label] = model.LabelValue(chatbot.Account)
	}
	if window != "" {
		all[collector.WindowLabel] = model.LabelValue(window)
	}
	pairs := make([]string, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		pairs = append(pairs, string(name)+`="`+escape(string(all[name]))+`"`)
	}
	return "{" + strings.Join(pairs, ",") + "}"
}

// escape escapes the value of a label or a help text for OpenMetrics.
func escape(text string) string {
	return strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`).Replace(text)
}

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
)

// Write writes the past as OpenMetrics 1.0, until ctx ends: metric after metric and
// chatbot after chatbot, as the samples of a series have to stand together.
func (p *Past) Write(ctx context.Context, out io.Writer) error {
	buffered := bufio.NewWriterSize(out, 1<<16)
	for _, sum := range datedSums() {
		// Errors of a buffered writer stay until Flush.
		_, _ = buffered.WriteString("# HELP " + sum.Name + " " + escape(sum.Help) + "\n" +
			"# TYPE " + sum.Name + " " + sum.Type() + "\n")
		for i := range p.histories {
			if err := p.writeSeries(ctx, buffered, sum, i); err != nil {
				return err
			}
		}
	}
	_, _ = buffered.WriteString("# EOF\n")
	return buffered.Flush()
}

// writeSeries writes a metric of a chatbot.
func (p *Past) writeSeries(ctx context.Context, out *bufio.Writer, sum collector.Sum, i int) error {
	const often = 1 << 12
	series := sum.Name + labels(p.Labels, p.Chatbots[i]) + " "
	var line []byte
	written := 0
	for moment, summary := range p.histories[i].summaries(p.moments()) {
		value, ok := sum.Value(summary)
		if !ok {
			continue
		}
		line = append(line[:0], series...)
		line = strconv.AppendFloat(line, value, 'f', -1, 64)
		line = append(line, ' ')
		line = appendTimestamp(line, moment)
		line = append(line, '\n')
		if _, err := out.Write(line); err != nil {
			return err
		}
		if written++; written%often == 0 {
			p.Samples(p.Chatbots[i], often)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
		}
	}
	p.Samples(p.Chatbots[i], written%often)
	return nil
}

// appendTimestamp appends a moment in seconds, with what milliseconds it has.
func appendTimestamp(line []byte, moment time.Time) []byte {
	line = strconv.AppendInt(line, moment.Unix(), 10)
	if milliseconds := moment.Nanosecond() / 1e6; milliseconds > 0 {
		line = append(line, '.', '0'+byte(milliseconds/100), '0'+byte(milliseconds/10%10), '0'+byte(milliseconds%10))
	}
	return line
}

// labels returns the labels of a chatbot's series.
func labels(given model.LabelSet, chatbot collector.Chatbot) string {
	all := model.LabelSet{collector.ChatbotLabel: model.LabelValue(chatbot.UUID)}.Merge(given)
	pairs := make([]string, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		pairs = append(pairs, string(name)+`="`+escape(string(all[name]))+`"`)
	}
	return "{" + strings.Join(pairs, ",") + "}"
}

// escape returns a label's value or a help text as OpenMetrics has it.
func escape(text string) string {
	return strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`).Replace(text)
}

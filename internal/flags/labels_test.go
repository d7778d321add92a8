package flags_test

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/model"

	"github.com/chatwize-exporter/chatwize_exporter/internal/flags"
)

func TestTime(t *testing.T) {
	tests := map[string]string{ // to RFC 3339, or a part of the error
		"2026-01-31":                          "2026-01-31T00:00:00Z",
		"2026-01-31T12:00:00Z":                "2026-01-31T12:00:00Z",
		"2026-01-31T12:00:00+02:00":           "2026-01-31T10:00:00Z",
		"2026-01-31T12:00:00.1239Z":           "2026-01-31T12:00:00.123Z",
		"1970-01-01":                          "1970-01-01T00:00:00Z",
		"1969-12-31T23:59:59.999Z":            "too early",
		"1970-01-01T00:00:00+00:01":           "too early",
		"0001-01-01":                          "too early",
		"2026-02-30":                          "must be a date",
		"2026-01-31 12:00:00":                 "must be a date",
		"2026-01-31T12:00:00":                 "must be a date",
		"1769860800":                          "2026-01-31T12:00:00Z",
		"1769860800.5":                        "2026-01-31T12:00:00.5Z",
		"1769860800.1239":                     "2026-01-31T12:00:00.123Z",
		"1769860800.":                         "must be a date",
		"1769860800.+1":                       "must be a date",
		"+769860800":                          "must be a date",
		"1.7698608e+09":                       "must be a date",
		"1769860800000":                       "must be a date", // milliseconds
		"20260131":                            "must be a date",
		"0":                                   "must be a date",
		"now":                                 "must be a date",
		"":                                    "must be a date",
		"2026-01-31T12:00:00Z, then sk-0815-": "must be a date",
	}
	for text, want := range tests {
		app := kingpin.New("test", "").Terminate(nil)
		var moment time.Time
		flags.Time(app.Flag("start", ""), &moment)
		_, err := app.Parse([]string{"--start=" + text})
		if err != nil {
			if got := err.Error(); !strings.HasPrefix(got, "--start: ") || !strings.Contains(got, want) || strings.Contains(got, "0815") {
				t.Errorf("%q: %v, want %s", text, err, want)
			}
			continue
		}
		if got := moment.UTC().Format(time.RFC3339Nano); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}

func TestLabels(t *testing.T) {
	long := strings.Repeat("x", 1000)
	tests := map[string]struct {
		given []string
		want  model.LabelSet
		err   string
	}{
		"none":              {nil, model.LabelSet{}, ""},
		"two":               {[]string{"job=chatwize", "instance=localhost:10113"}, model.LabelSet{"job": "chatwize", "instance": "localhost:10113"}, ""},
		"any value":         {[]string{"a=b=c", "_=\"\\\n", "A9=" + long}, model.LabelSet{"a": "b=c", "_": "\"\\\n", "A9": model.LabelValue(long)}, ""},
		"not a label":       {[]string{"job=a", "chatwize"}, nil, "label 2 has no ="},
		"no name":           {[]string{"=chatwize"}, nil, "label 1 has an invalid name"},
		"digit first":       {[]string{"9a=b"}, nil, "has an invalid name"},
		"dash":              {[]string{"data-centre=b"}, nil, "has an invalid name"},
		"blank":             {[]string{"job =b"}, nil, "has an invalid name"},
		"letters of Europe": {[]string{"größe=b"}, nil, "has an invalid name"},
		"the metric's name": {[]string{"__name__=b"}, nil, "Prometheus reserves"},
		"the chatbot":       {[]string{"chatbot=b"}, nil, "is set by the exporter"},
		"the window":        {[]string{"window=b"}, nil, "is set by the exporter"},
		"twice":             {[]string{"job=a", "job=a"}, nil, "label 2 has the same name as another"},
		"no value":          {[]string{"job="}, nil, "nothing after its ="},
		"not UTF-8":         {[]string{"job=\xff"}, nil, "UTF-8"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			app := kingpin.New("test", "").Terminate(nil)
			var labels model.LabelSet
			flags.Labels(app.Flag("label", ""), &labels, "chatbot", "window")
			var arguments []string
			for _, label := range test.given {
				arguments = append(arguments, "--label="+label)
			}
			_, err := app.Parse(arguments)
			switch {
			case test.err != "":
				if err == nil || !strings.HasPrefix(err.Error(), "--label: label ") || !strings.Contains(err.Error(), test.err) {
					t.Errorf("got %v", err)
				}
			case err != nil || !maps.Equal(labels, test.want):
				t.Errorf("got %v, %v", labels, err)
			}
		})
	}
}

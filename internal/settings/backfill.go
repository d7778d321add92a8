package settings

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/model"

	"github.com/chatwize-exporter/chatwize_exporter/collector"
)

// Time makes flag take a moment since 1970, in RFC 3339 or as a date, which means
// its midnight in UTC. Of fractions of a second it keeps the milliseconds.
func Time(flag *kingpin.FlagClause) *time.Time {
	return parsed(flag, func(text string) (time.Time, error) {
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t, err = time.Parse(time.DateOnly, text)
		}
		switch {
		case err != nil:
			return time.Time{}, errors.New("must be a date, such as 2026-01-31, or a time, such as 2026-01-31T12:00:00Z")
		case t.Unix() < 0:
			return time.Time{}, errors.New("is too early; the earliest is 1970-01-01")
		}
		return t.Truncate(time.Millisecond), nil
	})
}

// labels are the labels given by a repeatable flag, each as NAME=VALUE.
type labels struct {
	flag *kingpin.FlagClause
	set  model.LabelSet
}

// Labels makes flag take labels, but for that of the chatbot.
func Labels(flag *kingpin.FlagClause) model.LabelSet {
	l := &labels{flag: flag, set: model.LabelSet{}}
	flag.SetValue(l)
	return l.set
}

// String returns nothing: a default is not wanted in the help.
func (l *labels) String() string { return "" }

// IsCumulative tells kingpin that the flag may be repeated.
func (l *labels) IsCumulative() bool { return true }

// Set adds a label.
func (l *labels) Set(text string) error {
	if err := l.add(text); err != nil {
		return Error(l.flag, fmt.Errorf("label %d %w", len(l.set)+1, err))
	}
	return nil
}

func (l *labels) add(text string) error {
	name, value, found := strings.Cut(text, "=")
	_, given := l.set[model.LabelName(name)]
	switch {
	case !found:
		return errors.New("has no =; write it like job=chatwize")
	case !model.LegacyValidation.IsValidLabelName(name):
		return errors.New("has a name that is none; write letters, digits and underscores, and no digit first")
	case strings.HasPrefix(name, model.ReservedLabelPrefix):
		return errors.New("has a name that Prometheus keeps for itself; write one without __ in front")
	case name == collector.ChatbotLabel:
		return errors.New("is that of the chatbot, which is there anyway; leave it out")
	case given:
		return errors.New("has the name of one before; leave one out")
	case value == "":
		return errors.New("has nothing behind its =; write a value there or leave the label out")
	case !model.LabelValue(value).IsValid():
		return errors.New("has a value that is not UTF-8; write it in UTF-8")
	}
	l.set[model.LabelName(name)] = model.LabelValue(value)
	return nil
}

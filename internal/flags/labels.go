package flags

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/model"
)

// labels is a [kingpin.Value] of a repeatable flag.
type labels struct {
	flag     *kingpin.FlagClause
	into     *model.LabelSet
	reserved []string
}

// Labels makes flag repeatable and accept labels as NAME=VALUE, but none with a name in
// reserved.
func Labels(flag *kingpin.FlagClause, into *model.LabelSet, reserved ...string) {
	flag.SetValue(&labels{flag, into, reserved})
}

// String returns nothing, so that the help shows no default.
func (l *labels) String() string { return "" }

// IsCumulative reports true, to kingpin: the flag may be repeated.
func (l *labels) IsCumulative() bool { return true }

// Set adds a label.
func (l *labels) Set(text string) error {
	if err := l.add(text); err != nil {
		return Error(l.flag, fmt.Errorf("label %d %w", len(*l.into)+1, err))
	}
	return nil
}

func (l *labels) add(text string) error {
	name, value, found := strings.Cut(text, "=")
	_, given := (*l.into)[model.LabelName(name)]
	switch {
	case !found:
		return errors.New("has no =; write it like job=chatwize")
	case !model.LegacyValidation.IsValidLabelName(name):
		return errors.New("has an invalid name; write letters, digits and underscores, and no digit first")
	case strings.HasPrefix(name, model.ReservedLabelPrefix):
		return errors.New("has a name that Prometheus reserves; write one that does not begin with __")
	case slices.Contains(l.reserved, name):
		return errors.New("is set by the exporter; remove it")
	case given:
		return errors.New("has the same name as another; remove one")
	case value == "":
		return errors.New("has nothing after its =; write a value there or remove the label")
	case !model.LabelValue(value).IsValid():
		return errors.New("has a value that is not UTF-8; write it in UTF-8")
	}
	if *l.into == nil {
		*l.into = model.LabelSet{}
	}
	(*l.into)[model.LabelName(name)] = model.LabelValue(value)
	return nil
}

package accounts

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/prometheus/common/config"
	"go.yaml.in/yaml/v2"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/secret"
	"github.com/chatwize-exporter/chatwize_exporter/internal/setting"
)

// MinTimeout is the minimum timeout of a fetch.
const MinTimeout = time.Millisecond

// MinWindow is the shortest window of incremental mode.
const MinWindow = 5 * time.Minute

// file is the configuration file.
type file struct {
	Accounts []account `yaml:"accounts"`
}

// account is an entry of the file. Its fields are decoded one by one, so that errors can name
// the account and the field, and need not quote the value.
type account struct {
	Name        field `yaml:"name"`
	URL         field `yaml:"url"`
	TokenFile   field `yaml:"token_file"`
	Chatbots    field `yaml:"chatbots"`
	Include     field `yaml:"include"`
	Exclude     field `yaml:"exclude"`
	Timeout     field `yaml:"timeout"`
	Concurrency field `yaml:"concurrency"`
	CacheTTL    field `yaml:"cache_ttl"`
	Window      field `yaml:"window"`
	TLS         field `yaml:"tls_config"`

	ProxyURL             field `yaml:"proxy_url"`
	NoProxy              field `yaml:"no_proxy"`
	ProxyFromEnvironment field `yaml:"proxy_from_environment"`
	ProxyConnectHeader   field `yaml:"proxy_connect_header"`

	// Where a user may expect the API key.
	Token  field `yaml:"token"`
	Key    field `yaml:"key"`
	APIKey field `yaml:"api_key"`
}

// chatbot is an entry of a list of chatbots.
type chatbot struct {
	UUID string `yaml:"uuid"`
	Name string `yaml:"name"`
}

// field is a field that has not been decoded yet, nil if it is not given.
type field func(into any) error

// UnmarshalYAML keeps the value for later.
func (f *field) UnmarshalYAML(unmarshal func(any) error) error {
	*f = unmarshal
	return nil
}

// decode decodes a field that is given. Its error has lines and names of fields, but no
// values.
func decode[T any](f field, into *T) error {
	if f == nil {
		return nil
	}
	err := f(into)
	if typeError := (*yaml.TypeError)(nil); errors.As(err, &typeError) {
		return errors.New(strings.TrimSpace(setting.YAMLProblem(err.Error())))
	}
	if err != nil {
		return errors.New("cannot be understood; write it as docs/accounts.md shows")
	}
	return nil
}

// parse decodes a text, which is not empty, and parses it. It leaves into as it is if the
// field is not given.
func parse[T any](f field, into *T, parse func(string) (T, error)) error {
	if f == nil {
		return nil
	}
	var text string
	if f(&text) != nil {
		return errors.New("must be a text, not a list or a map")
	}
	parsed, err := parse(text)
	if err != nil {
		return err
	}
	*into = parsed
	return nil
}

// ReadFile reads the accounts of a configuration file, and their keys. What an account does
// not set is as in defaults. An error is one line that names the file, the account or the
// line, and the field. It quotes nothing of the file but the name of an account.
func ReadFile(ctx context.Context, path string, defaults Config) ([]Config, error) {
	configs, err := readFile(ctx, path, defaults)
	if err == nil {
		return configs, nil
	}
	if !setting.Quotable(path) {
		path = "the file"
	}
	return nil, fmt.Errorf("%s: %w", path, err)
}

func readFile(ctx context.Context, path string, defaults Config) ([]Config, error) {
	defaults.Reads = cmp.Or(defaults.Reads, new(Reads))
	content, err := defaults.Reads.file(path)(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w; name a file with accounts", cannotRead(err))
	}
	entries, err := decodeFile(content)
	if err != nil {
		return nil, err
	}
	reader := fileReader{defaults: defaults, folder: filepath.Dir(path)}
	var configs []Config
	positions := map[string]int{}
	for i, entry := range entries {
		config, err := reader.read(ctx, entry)
		if err == nil && positions[config.Name] > 0 {
			err = fieldProblem("name", fmt.Errorf("is already the name of account %d; choose another", positions[config.Name]))
		}
		if err != nil {
			return nil, aboutAccount(config.Name, i, err)
		}
		positions[config.Name] = i + 1
		configs = append(configs, config)
	}
	if err := reader.checkKeys(content); err != nil {
		return nil, err
	}
	return configs, reader.checkNames(configs)
}

// decodeFile decodes a file strictly.
func decodeFile(content string) ([]account, error) {
	n := 0
	for line := range strings.Lines(content) {
		n++
		// The parser lets a merge key override the fields above it, such as the URL for a key.
		if strings.Contains(line, "<<") && !strings.HasPrefix(strings.TrimSpace(line), "#") {
			return nil, fmt.Errorf("line %d: has <<, but merge keys are not supported; write the fields of each account", n)
		}
	}
	var f file
	decoder := yaml.NewDecoder(strings.NewReader(content))
	decoder.SetStrict(true)
	if err := decoder.Decode(&f); err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.New(setting.YAMLProblem(err.Error()))
	}
	if err := decoder.Decode(new(any)); !errors.Is(err, io.EOF) {
		return nil, errors.New("has more than one document; remove the lines from --- on")
	}
	if len(f.Accounts) == 0 {
		return nil, errors.New("accounts: is missing or empty; write one account at least")
	}
	return f.Accounts, checkValues(content)
}

// checkValues returns an error if a field of an account has no value. It would be as if it
// was not there: the default, such as all chatbots, may not be what was meant.
func checkValues(content string) error {
	var f struct {
		Accounts []map[string]any `yaml:"accounts"`
	}
	if err := yaml.Unmarshal([]byte(content), &f); err != nil {
		return errors.New(setting.YAMLProblem(err.Error()))
	}
	for i, fields := range f.Accounts {
		for _, field := range slices.Sorted(maps.Keys(fields)) {
			if hasNull(fields[field]) {
				return aboutAccount("", i, fieldProblem(field, errors.New("has no value, or a field in it has none; write one or remove the field")))
			}
		}
	}
	return nil
}

// hasNull reports whether a value, or any in it, is null.
func hasNull(value any) bool {
	switch value := value.(type) {
	case nil:
		return true
	case []any:
		return slices.ContainsFunc(value, hasNull)
	case map[any]any:
		return slices.ContainsFunc(slices.Collect(maps.Values(value)), hasNull)
	}
	return false
}

// fieldProblem returns an error about a field of an account.
func fieldProblem(field string, err error) error { return fmt.Errorf("%s: %w", field, err) }

// fieldError returns an error about a field of a named account.
func fieldError(name, field string, err error) error {
	return aboutAccount(name, 0, fieldProblem(field, err))
}

// aboutAccount returns an error about an account, by its name or, if it has none, by its
// index in the file.
func aboutAccount(name string, index int, err error) error {
	if name == "" {
		return fmt.Errorf("account %d: %w", index+1, err)
	}
	return fmt.Errorf("account %q: %w", name, err)
}

// cannotRead returns why a file cannot be read, without its name.
func cannotRead(err error) error {
	if pathError := (*fs.PathError)(nil); errors.As(err, &pathError) {
		err = pathError.Err
	}
	return fmt.Errorf("cannot be read: %w", err)
}

// fileReader reads accounts of a file.
type fileReader struct {
	defaults Config
	folder   string // of the file
	keys     secret.Keys
	keyFiles []string // as they are written in the file
}

// read reads an account. With an error it returns an account that has at most a name.
func (r *fileReader) read(ctx context.Context, a account) (Config, error) {
	c := r.defaults
	c.Chatbots, c.Include, c.Exclude = nil, nil, nil
	c.Name = ""
	if a.Name == nil {
		return Config{}, fieldProblem("name", errors.New("is missing; give each account a name, which becomes the label account"))
	}
	if err := parse(a.Name, &c.Name, checkName); err != nil {
		return Config{}, fieldProblem("name", err)
	}
	named := Config{Name: c.Name}
	for _, inline := range []struct {
		field string
		value field
	}{{"token", a.Token}, {"key", a.Key}, {"api_key", a.APIKey}} {
		if inline.value != nil {
			return named, fieldProblem(inline.field, errors.New("an API key must not be in this file; write it into another one and name that with token_file"))
		}
	}
	positive := func(text string) (time.Duration, error) { return setting.Duration(text, 0) }
	for _, step := range []struct {
		field string
		err   error
	}{
		{"url", parse(a.URL, &c.URL, baseURL)},
		{"timeout", parse(a.Timeout, &c.Timeout, func(text string) (time.Duration, error) { return setting.Duration(text, MinTimeout) })},
		{"concurrency", parse(a.Concurrency, &c.Concurrency, func(text string) (int, error) { return setting.WholeNumber(text, 1) })},
		{"cache_ttl", parse(a.CacheTTL, &c.Source.CacheTTL, positive)},
		{"window", parse(a.Window, &c.Source.Window, positive)},
		{"window", checkWindow(&c)},
		{"chatbots", r.readChatbots(a, &c)},
		{"include", r.readPattern(a.Include, &c.Include, &c)},
		{"exclude", r.readPattern(a.Exclude, &c.Exclude, &c)},
		{"tls_config", r.readTLS(ctx, a.TLS, &c)},
		{"token_file", r.readKey(ctx, a.TokenFile, &c)},
	} {
		if step.err != nil {
			return named, fieldProblem(step.field, step.err)
		}
	}
	if err := readProxy(a, &c); err != nil {
		return named, err
	}
	return c, nil
}

// checkName returns the name of an account, or an error if it cannot be a label that alerts
// and URLs can hold.
func checkName(name string) (string, error) {
	switch {
	case strings.TrimSpace(name) == "":
		return "", errors.New("is empty; write a name, which becomes the label account")
	case strings.TrimSpace(name) != name:
		return "", errors.New("has white space around it; remove that")
	case strings.ContainsAny(name, `"\`), strings.ContainsFunc(name, unicode.IsControl):
		return "", errors.New(`has a ", a \ or a control character; remove it`)
	case len([]rune(name)) > maxName:
		return "", fmt.Errorf("is too long; maximum %d characters", maxName)
	}
	return name, nil
}

// maxName is the maximum length of the name of an account in characters.
const maxName = 128

func baseURL(text string) (*url.URL, error) { return setting.BaseURL(text, "token_file") }

// checkWindow returns an error if the settings do not make an incremental mode.
func checkWindow(c *Config) error {
	switch {
	case c.Source.Window > 0 && c.Source.Window < MinWindow:
		return fmt.Errorf("is too short; minimum %s, or 0 to fetch full lists only", MinWindow)
	case c.Source.Window > 0 && c.Source.FullInterval == 0:
		return errors.New("needs --chatwize.full-interval above 0; give that a duration such as 1h")
	}
	return nil
}

// readChatbots reads the chatbots of an account. An empty list is an error: it does not mean
// none.
func (r *fileReader) readChatbots(a account, c *Config) error {
	if a.Chatbots == nil {
		c.Include, c.Exclude = r.defaults.Include, r.defaults.Exclude
		return nil
	}
	var entries []chatbot
	if err := decode(a.Chatbots, &entries); err != nil {
		return err
	}
	if len(entries) == 0 {
		return errors.New("is empty; list chatbots, or remove it for all of the account")
	}
	given := map[string]bool{}
	for i, entry := range entries {
		bot := client.Chatbot{UUID: strings.TrimSpace(entry.UUID), Name: client.CleanName(entry.Name)}
		canonical := client.CanonicalUUID(bot.UUID)
		switch {
		case !client.IsUUID(bot.UUID):
			return fmt.Errorf("uuid of chatbot %d is not a UUID; write 32 hexadecimal digits, with or without dashes", i+1)
		case given[canonical]:
			return fmt.Errorf("chatbot %s is given twice; remove one", canonical)
		}
		given[canonical] = true
		c.Chatbots = append(c.Chatbots, bot)
	}
	return nil
}

// readPattern reads include or exclude, which are for discovered chatbots.
func (r *fileReader) readPattern(f field, into **regexp.Regexp, c *Config) error {
	if f != nil && len(c.Chatbots) > 0 {
		return errors.New("is for discovered chatbots; remove it or chatbots")
	}
	return parse(f, into, setting.Pattern)
}

// readTLS reads tls_config and checks its files.
func (r *fileReader) readTLS(ctx context.Context, f field, c *Config) error {
	into := &c.TLS
	type plain TLS // without its UnmarshalYAML, whose errors may quote
	if err := decode(f, (*plain)(into)); err != nil {
		return err
	}
	if err := into.Validate(); err != nil {
		return err
	}
	into.SetDirectory(r.folder)
	_, err := newTLSFiles(*into, c.Reads).config(ctx)
	return err
}

// readKey reads the API key of an account.
func (r *fileReader) readKey(ctx context.Context, f field, c *Config) error {
	path := ""
	if err := parse(f, &path, func(text string) (string, error) { return text, nil }); err != nil {
		return err
	}
	if path == "" {
		return errors.New("is missing; write the API key into a file and name that")
	}
	r.keyFiles = append(r.keyFiles, path)
	c.KeyFile = config.JoinDir(r.folder, path)
	c.Key = c.Reads.key(c.KeyFile)
	key, err := c.Key(ctx)
	if err != nil {
		return err
	}
	r.keys.Add(key)
	if c.Keys != nil {
		c.Keys.Add(key)
	}
	return nil
}

// readProxy reads the proxy of an account. Without any of its fields, that of the environment
// is used.
func readProxy(a account, c *Config) error {
	var proxy Proxy
	given := false
	for _, step := range []struct {
		field string
		value field
		into  any
	}{
		{"proxy_url", a.ProxyURL, &proxy.ProxyURL},
		{"no_proxy", a.NoProxy, &proxy.NoProxy},
		{"proxy_from_environment", a.ProxyFromEnvironment, &proxy.ProxyFromEnvironment},
		{"proxy_connect_header", a.ProxyConnectHeader, &proxy.ProxyConnectHeader},
	} {
		if step.value == nil {
			continue
		}
		given = true
		if step.value(step.into) != nil {
			return fieldProblem(step.field, errors.New("cannot be understood; write it as in the configuration of Prometheus"))
		}
	}
	if !given {
		return nil
	}
	if err := proxy.Validate(); err != nil {
		return fieldProblem("proxy_url", err)
	}
	if u := proxy.ProxyURL.URL; u != nil && u.String() != "" &&
		(!slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme) || u.Host == "") {
		return fieldProblem("proxy_url", errors.New("is not the URL of a proxy; write it like http://proxy.example:3128"))
	}
	c.Proxy = &proxy
	return nil
}

// checkNames returns an error if a name or UUID contains an API key, or an account's name the
// start of one. It checks decoded values, so that YAML escapes cannot hide a key.
func (r *fileReader) checkNames(configs []Config) error {
	isKey := func(bot client.Chatbot) bool { return r.keys.In(bot.Name) || r.keys.In(bot.UUID) }
	for i, c := range configs {
		if r.keys.Hide(c.Name) != c.Name || slices.ContainsFunc(c.Chatbots, isKey) {
			return aboutAccount("", i, errors.New("contains an API key; keep it only in the file that token_file names"))
		}
	}
	return nil
}

// checkKeys returns an error if an API key is in the file, other than as the name of its own
// file.
func (r *fileReader) checkKeys(content string) error {
	n := 0
	for line := range strings.Lines(content) {
		n++
		if !r.keys.In(line) {
			continue
		}
		for _, file := range r.keyFiles {
			line = strings.ReplaceAll(line, file, "")
		}
		if r.keys.In(line) {
			return fmt.Errorf("line %d: contains an API key; keep it only in the file that token_file names", n)
		}
	}
	return nil
}

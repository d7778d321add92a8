package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	toolkit "github.com/prometheus/exporter-toolkit/web"
	"go.yaml.in/yaml/v2"

	"github.com/chatwize-exporter/chatwize_exporter/internal/setting"
)

// webConfigError returns an error about the file of --web.config.file.
func webConfigError(problem string) error {
	return fmt.Errorf("--web.config.file (CHATWIZE_WEB_CONFIG_FILE): %s; fix that file or remove the setting", problem)
}

// invalidWebConfig is like webConfigError, for an error about what is in the file.
func invalidWebConfig(err error) error {
	problem, known := toolkitProblem(err.Error())
	if !known {
		problem = "is not a web configuration"
	}
	return webConfigError(problem)
}

// readWebConfig reads the file of --web.config.file. It does not check all of it. Without
// the flag, it returns an empty configuration.
func (s *settings) readWebConfig() (config toolkit.Config, err error) {
	file := *s.listen.WebConfigFile
	if file == "" {
		return config, nil
	}
	content, err := setting.ReadFile(file)
	if pathError := (*fs.PathError)(nil); errors.As(err, &pathError) {
		err = pathError.Err
	}
	if err != nil {
		return config, webConfigError("the file cannot be read: " + err.Error())
	}
	if err := yaml.Unmarshal(content, &config); err != nil {
		return config, invalidWebConfig(err)
	}
	config.TLSConfig.SetDirectory(filepath.Dir(file))
	return config, nil
}

// checkedWebConfig is like readWebConfig, but checks all of the file and the files it names.
func (s *settings) checkedWebConfig() (toolkit.Config, error) {
	config, err := s.readWebConfig()
	if err != nil {
		return config, err
	}
	for _, named := range []struct{ field, file string }{
		{"cert_file", config.TLSConfig.TLSCertPath}, {"key_file", config.TLSConfig.TLSKeyPath}, {"client_ca_file", config.TLSConfig.ClientCAs},
	} {
		if !setting.IsSmallFile(named.file) {
			return config, webConfigError("its " + named.field + " is not a regular file of up to 16 MiB")
		}
	}
	if err := toolkit.Validate(*s.listen.WebConfigFile); err != nil {
		return config, invalidWebConfig(err)
	}
	for _, value := range config.HTTPConfig.Header {
		if s.account.Keys.In(value) {
			return config, webConfigError("it has the API key in an HTTP header, which every client would get")
		}
	}
	return config, nil
}

// checkWebConfig returns an error if the file of --web.config.file cannot be used. It
// logs a warning if the file leaves everyone in, and notes whether it has TLS. A second after
// ctx has ended, it gives up on files that hang.
func (s *settings) checkWebConfig(ctx context.Context, logger log.Logger) error {
	if *s.listen.WebConfigFile == "" {
		if s.webConfigGiven {
			level.Warn(logger).Log("msg", "The name of the web configuration file is empty: everyone who can connect can read the metrics",
				"hint", "name a file, or do not set it")
		}
		return nil
	}
	var config toolkit.Config
	var err error
	read := make(chan struct{})
	go func() {
		defer close(read)
		config, err = s.checkedWebConfig()
	}()
	select {
	case <-read:
	case <-after(ctx, time.Second):
		return webConfigError("it, or a file that it names, was not read in time")
	}
	if err != nil {
		return err
	}
	s.servesTLS = config.TLSConfig.IsEnabled()
	if len(config.Users) == 0 && !s.servesTLS {
		level.Warn(logger).Log("msg", "The web configuration has no users and no TLS: everyone who can connect can read the metrics",
			"hint", "write basic_auth_users or tls_server_config into the file")
	}
	return nil
}

// after returns a channel that is closed some time after ctx has ended.
func after(ctx context.Context, delay time.Duration) <-chan struct{} {
	late := make(chan struct{})
	context.AfterFunc(ctx, func() { time.AfterFunc(delay, func() { close(late) }) })
	return late
}

// toolkitErrors are the errors of exporter-toolkit, most about a web configuration, and how
// to say them without what they quote. $1 and so on are texts of exporter-toolkit or of
// the operating system.
var toolkitErrors = []struct {
	match *regexp.Regexp
	say   string
}{
	{regexp.MustCompile(`^no socket activation file descriptors found$`), "$0"},
	{regexp.MustCompile(`^missing one of [a-z_ ]+$|^client CA's have been configured without a Client Auth Policy$`), "$0"},
	{regexp.MustCompile(`(?s)^failed to read (cert_file|key_file) \(.*: ([^:]+)$`), "its $1 cannot be read: $2"},
	{regexp.MustCompile(`(?s)^failed to load X509KeyPair: (tls: private key [a-z ]+|tls: failed to find [a-zA-Z ]+)`), "its certificate and key cannot be used: $1"},
	{regexp.MustCompile(`^failed to load X509KeyPair: `), "its certificate and key cannot be used"},
	{regexp.MustCompile(`(?s)^(?:open|read) .*: ([^:]+)$`), "it, or a file that it names, cannot be read: $1"},
	{regexp.MustCompile(`^(unknown cipher|unknown curve|unknown TLS version|invalid ClientAuth): `), "$1"},
	{regexp.MustCompile(`^HTTP header ".*" can not be configured$`), "it has an HTTP header that cannot be configured"},
	{regexp.MustCompile(`^invalid value for ([a-zA-Z-]+)\. (Expected one of: \[[a-z" ]*\])`), "invalid value for $1. $2"},
	{regexp.MustCompile(`^crypto/bcrypt: `), "a password in basic_auth_users is not a bcrypt hash"},
	{regexp.MustCompile(`^could not find allowed SANs in client cert`), "the client's certificate has none of client_allowed_sans"},
}

// toolkitProblem returns what an error of exporter-toolkit says. Errors about a web
// configuration quote values of the file, which may be an API key in the
// wrong place. It reports false for any other error.
func toolkitProblem(text string) (problem string, known bool) {
	if strings.HasPrefix(text, "yaml: ") {
		return setting.YAMLProblem(text), true
	}
	for _, e := range toolkitErrors {
		if match := e.match.FindStringSubmatchIndex(text); match != nil {
			return string(e.match.ExpandString(nil, e.say, text, match)), true
		}
	}
	return "", false
}

// webConfigFilter is a [slog.Handler] for exporter-toolkit and [http.Server]. Both log
// errors of a web configuration that changed while it is in use.
type webConfigFilter struct{ slog.Handler }

var handshakeError = regexp.MustCompile(`(?s)^(http: TLS handshake error from [^ ]+: )(.*?)\n?$`)

// Handle removes values of a web configuration from a record, and its place in the code: no
// other log line has one.
func (f webConfigFilter) Handle(ctx context.Context, record slog.Record) error {
	filtered := slog.NewRecord(record.Time, record.Level, record.Message, 0)
	if match := handshakeError.FindStringSubmatch(record.Message); match != nil {
		if problem, known := toolkitProblem(match[2]); known {
			filtered.Message = match[1] + "the web configuration: " + problem
		}
	}
	record.Attrs(func(a slog.Attr) bool {
		if a.Key == "err" {
			problem, known := toolkitProblem(a.Value.String())
			if !known {
				problem = "the web configuration cannot be used"
			}
			a = slog.String(a.Key, problem)
		}
		filtered.AddAttrs(a)
		return true
	})
	return f.Handler.Handle(ctx, filtered)
}

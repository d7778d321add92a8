package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/accounts"
	"github.com/chatwize-exporter/chatwize_exporter/internal/setting"
)

// configFlag is how errors name the flag of the configuration file.
const configFlag = "--config.file (CHATWIZE_CONFIG_FILE)"

// newManager returns the accounts of the settings, which have been loaded once. It logs a
// warning if a key is sent unencrypted.
func (s *settings) newManager(ctx context.Context, logger log.Logger) (*accounts.Manager, error) {
	s.account.Buffers, s.account.Reads = &client.Buffers{}, &accounts.Reads{}
	manager := accounts.NewManager(func(ctx context.Context) ([]accounts.Config, error) {
		configs, err := s.load(ctx)
		if err == nil {
			err = s.checkMisplaced()
		}
		if err != nil {
			return nil, errors.New(s.account.Keys.Hide(err.Error())) // it is shown on the page, too
		}
		for _, config := range configs {
			s.warn(config, logger)
		}
		return configs, nil
	}, logger)
	return manager, manager.Reload(ctx)
}

// staleAge is the age of numbers at which ChatwizeNumbersOld fires.
const staleAge = 15 * time.Minute

// warn logs a warning if the key of an account is sent unencrypted, or if its numbers are
// cached for too long.
func (s *settings) warn(config accounts.Config, logger log.Logger) {
	url, cacheTTL := "--chatwize.url", "--chatwize.cache-ttl"
	if config.Name != "" {
		logger, url, cacheTTL = log.With(logger, accounts.Label, config.Name), "the url of the account", "cache_ttl"
	}
	if setting.IsPlaintext(config.URL) {
		level.Warn(logger).Log("msg", "The API key is sent unencrypted", "hint", "use https in "+url)
	}
	if s.command == serveCommand && config.Source.CacheTTL >= staleAge {
		level.Warn(logger).Log("msg", "The cache keeps numbers so long that the alert ChatwizeNumbersOld fires",
			"hint", "set "+cacheTTL+" below "+staleAge.String())
	}
}

// load returns the accounts: simulated ones, those of the file, or that of the flags.
func (s *settings) load(ctx context.Context) ([]accounts.Config, error) {
	switch {
	case s.command == demoCommand:
		return s.demo, nil
	case s.configFile != "":
		configs, err := accounts.ReadFile(ctx, s.configFile, s.account)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", configFlag, err)
		}
		return configs, nil
	default:
		return s.loadAccount(ctx)
	}
}

// loadAccount returns the account of the flags, after it has read the key once.
func (s *settings) loadAccount(ctx context.Context) ([]accounts.Config, error) {
	const flag = "--chatwize.token-file (CHATWIZE_TOKEN_FILE)"
	account := s.account
	source, token := flag, inlineKey()
	switch {
	case s.tokenFile != "" && token != "":
		return nil, fmt.Errorf("there are two API keys: give either %s or %s", flag, tokenVariable)
	case s.tokenFile != "":
		account.Key = accounts.FileKey(s.tokenFile)
	case os.Getenv(tokenVariable) != "":
		source, account.Key = tokenVariable, accounts.InlineKey(token)
	default:
		return nil, errors.New("there is no API key: write it into a file and name that with " + flag + ", or set " + tokenVariable)
	}
	if _, err := account.Keys.Watch(account.Key)(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", source, err)
	}
	return []accounts.Config{account}, nil
}

// checkMisplaced returns an error if a key is in a flag or in the address of a proxy. It
// would be shown, or sent to others. The name of the file that was read may be like a key.
func (s *settings) checkMisplaced() error {
	misplaced := func(text string) bool {
		return text != s.tokenFile && text != s.configFile && s.account.Keys.In(text)
	}
	if name, found := s.given.Find(misplaced); found {
		return fmt.Errorf("%s: contains the API key, which others could see there; remove it", name)
	}
	return nil
}

// checkConfigFile returns an error if the settings of accounts contradict each other.
func (s *settings) checkConfigFile() error {
	if s.command == demoCommand {
		return nil
	}
	chatbots := s.given.Set("chatwize.chatbot")
	if s.configFile == "" {
		for _, flag := range []string{"chatwize.include", "chatwize.exclude"} {
			if given := s.given.Set(flag); given != "" && chatbots != "" {
				return fmt.Errorf("%s: is for discovered chatbots; remove it or %s", given, chatbots)
			}
		}
		if len(s.only) > 0 {
			return errors.New("--account: is for the accounts of " + configFlag + "; give that or remove the flag")
		}
		return nil
	}
	token := ""
	if inlineKey() != "" {
		token = tokenVariable
	}
	for _, given := range []string{s.given.Set("chatwize.url"), s.given.Set("chatwize.token-file"), chatbots, token} {
		if given != "" {
			return fmt.Errorf("%s: the file has what %s is for; remove one of them", configFlag, given)
		}
	}
	if _, given := s.backfill.Labels[accounts.Label]; given {
		return fmt.Errorf("--label: %s is set by the exporter; remove it", accounts.Label)
	}
	return nil
}

// selected returns the accounts that --account names, or all.
func (s *settings) selected(all *accounts.Set) (*accounts.Set, error) {
	if len(s.only) == 0 {
		return all, nil
	}
	var names []string
	for _, account := range all.Accounts {
		names = append(names, strconv.Quote(account.Name))
	}
	var chosen []*accounts.Account
	for _, name := range s.only {
		account, ok := all.Find(name)
		if !ok {
			return nil, errors.New("--account: no account has this name; write one of " + strings.Join(names, ", "))
		}
		if !slices.Contains(chosen, account) {
			chosen = append(chosen, account)
		}
	}
	return accounts.NewSet(chosen...), nil
}

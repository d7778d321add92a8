package accounts_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/accounts"
	"github.com/chatwize-exporter/chatwize_exporter/internal/fetch"
	"github.com/chatwize-exporter/chatwize_exporter/internal/secret"
	"github.com/chatwize-exporter/chatwize_exporter/internal/setting"
)

const (
	shopUUID = "7f5e5376dbf045cd8c72c60f428653d1"
	deskUUID = "7F5E5376-DBF0-45CD-8C72-C60F428653D2"
	key      = "Key-0815-must-not-be-seen"
)

// write writes a file into a folder and returns its path.
func write(t testing.TB, folder, name, content string) string {
	t.Helper()
	path := filepath.Join(folder, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// defaults are what the flags give to the accounts of a file.
func defaults(t testing.TB) accounts.Config {
	t.Helper()
	base, err := url.Parse("https://app.chatwize.ai")
	if err != nil {
		t.Fatal(err)
	}
	return accounts.Config{
		URL: base, Concurrency: 4, Timeout: 30 * time.Second, DiscoveryInterval: 5 * time.Minute,
		Source: fetch.SourceOptions{FullInterval: time.Hour}, Keys: &secret.Keys{}, Reads: &accounts.Reads{},
	}
}

// readError returns why a file cannot be read, in the words of the operating system.
func readError(t *testing.T, path string) string {
	t.Helper()
	_, err := os.ReadFile(path)
	var pathError *fs.PathError
	if !errors.As(err, &pathError) {
		t.Fatalf("got %v", err)
	}
	return pathError.Err.Error()
}

// An account has what the file says, and else what the flags say.
func TestReadFile(t *testing.T) {
	folder := t.TempDir()
	write(t, folder, "acme.key", key+"\n")
	write(t, folder, "bolt.key", "Key-of-bolt-4711")
	path := write(t, folder, "accounts.yml", `
accounts:
  - name: acme
    url: http://acme.example/brand
    token_file: acme.key
    chatbots:
      - uuid: `+shopUUID+`
        name: Shop
      - uuid: `+deskUUID+`
    timeout: 20s
    concurrency: 2
    cache_ttl: 1d
    window: 48h
    proxy_url: http://proxy.example:3128
    no_proxy: other.example
    proxy_connect_header: {X-Tenant: [acme]}
    tls_config: {server_name: other, insecure_skip_verify: true}
  - name: Bolt & Söhne
    token_file: `+filepath.Join(folder, "bolt.key")+`
    exclude: ""
`)
	flags := defaults(t)
	flags.Include, _ = setting.Pattern("Shop.*")
	flags.Exclude, _ = setting.Pattern("Test.*")
	configs, err := accounts.ReadFile(t.Context(), path, flags)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{key, "Key-of-bolt-4711"} {
		if got, err := configs[i].Key(t.Context()); got != want || err != nil {
			t.Errorf("%s: got key %q, %v", configs[i].Name, got, err)
		}
		configs[i].Key = nil
	}
	acme := defaults(t)
	acme.Name, acme.URL, acme.KeyFile = "acme", &url.URL{Scheme: "http", Host: "acme.example", Path: "/brand"}, filepath.Join(folder, "acme.key")
	acme.Chatbots = []client.Chatbot{{UUID: shopUUID, Name: "Shop"}, {UUID: deskUUID}}
	acme.Timeout, acme.Concurrency = 20*time.Second, 2
	acme.Source.CacheTTL, acme.Source.Window = 24*time.Hour, 48*time.Hour
	acme.TLS = accounts.TLS{ServerName: "other", InsecureSkipVerify: true}
	acme.Keys, acme.Reads, acme.Proxy = flags.Keys, flags.Reads, configs[0].Proxy
	bolt := flags
	bolt.Name, bolt.KeyFile, bolt.Exclude = "Bolt & Söhne", filepath.Join(folder, "bolt.key"), nil
	if want := []accounts.Config{acme, bolt}; !reflect.DeepEqual(configs, want) {
		t.Errorf("got\n%+v\nwant\n%+v", configs, want)
	}
	for host, want := range map[string]string{"app.chatwize.ai": "http://proxy.example:3128", "other.example": "<nil>"} {
		request, err := http.NewRequest(http.MethodGet, "https://"+host, nil)
		if err != nil {
			t.Fatal(err)
		}
		proxy := *configs[0].Proxy
		got, err := proxy.Proxy()(request)
		if text := "<nil>"; err != nil || got != nil && got.String() != want || got == nil && text != want {
			t.Errorf("the proxy for %s is %v, %v", host, got, err)
		}
	}
	if !flags.Keys.In(key) {
		t.Error("the keys are not hidden")
	}
}

// A wrong file is an error of one line that names file, account or line, and field, and
// quotes nothing that may be a key.
func TestWrongFile(t *testing.T) {
	const (
		head   = "accounts:\n  - name: acme\n    token_file: acme.key\n"
		inline = "an API key must not be in this file; write it into another one and name that with token_file"
	)
	missing, folderError := readError(t, filepath.Join(t.TempDir(), "missing")), readError(t, t.TempDir())
	tests := map[string]struct{ content, want string }{
		"empty":                          {"", "accounts: is missing or empty; write one account at least"},
		"no accounts":                    {"accounts: []", "accounts: is missing or empty; write one account at least"},
		"no YAML":                        {"accounts: [" + key, "line 1 cannot be understood (check the indentation of this line and those around it; YAML has no tabs)"},
		"a text":                         {key, "line 1 has a value of the wrong type (check the indentation, and the space after the colon)"},
		"a map":                          {"accounts: {" + key + ": 1}", "line 1 has a value of the wrong type (check the indentation, and the space after the colon)"},
		"a merge key":                    {head + "  - <<: {timeout: 1s}\n    name: bolt\n", "line 4: has <<, but merge keys are not supported; write the fields of each account"},
		"a merge key in a line":          {"accounts: [{name: acme, token_file: acme.key, <<: {url: 'http://other'}}]", "line 1: has <<, but merge keys are not supported; write the fields of each account"},
		"two documents":                  {head + "---\naccounts: []\n", "has more than one document; remove the lines from --- on"},
		"unknown field":                  {"account: []", "line 1 has an unknown field account"},
		"unknown field of one":           {head + "    timeouts: 1s\n", "line 4 has an unknown field timeouts"},
		"a key as a field":               {head + "    " + key + ": 1s\n", "line 4 has an unknown field"},
		"a field twice":                  {head + "    token_file: a\n", "line 4 has a field that was given before: token_file"},
		"no name":                        {"accounts: [{token_file: acme.key}]", "account 1: name: is missing; give each account a name, which becomes the label account"},
		"empty name":                     {"accounts: [{name: ''}]", "account 1: name: is empty; write a name, which becomes the label account"},
		"name in white space":            {"accounts: [{name: ' a'}]", "account 1: name: has white space around it; remove that"},
		"name with a quote":              {`accounts: [{name: 'a"b'}]`, `account 1: name: has a ", a \ or a control character; remove it`},
		"name with a backslash":          {`accounts: [{name: 'a\b'}]`, `account 1: name: has a ", a \ or a control character; remove it`},
		"name with a new line":           {`accounts: [{name: "a\nb"}]`, `account 1: name: has a ", a \ or a control character; remove it`},
		"long name":                      {"accounts: [{name: " + strings.Repeat("ä", 129) + "}]", "account 1: name: is too long; maximum 128 characters"},
		"name of two":                    {head + "  - name: acme\n    token_file: acme.key\n", `account "acme": name: is already the name of account 1; choose another`},
		"name is a list":                 {"accounts: [{name: [a]}]", "account 1: name: must be a text, not a list or a map"},
		"no key file":                    {"accounts: [{name: acme}]", `account "acme": token_file: is missing; write the API key into a file and name that`},
		"empty key file":                 {"accounts: [{name: acme, token_file: ''}]", `account "acme": token_file: is missing; write the API key into a file and name that`},
		"missing key file":               {"accounts: [{name: acme, token_file: " + key + "}]", `account "acme": token_file: the file cannot be read: ` + missing + `; name a file that holds the API key`},
		"key file of two words":          {"accounts: [{name: acme, token_file: two.key}]", `account "acme": token_file: holds more than an API key, which is one word of ASCII letters, digits and signs; write the key, and nothing else, there`},
		"token":                          {head + "    token: " + key + "\n", `account "acme": token: ` + inline},
		"key":                            {head + "    key: " + key + "\n", `account "acme": key: ` + inline},
		"api_key":                        {head + "    api_key: " + key + "\n", `account "acme": api_key: ` + inline},
		"the key in a comment":           {head + "    # " + key + "\n", "line 4: contains an API key; keep it only in the file that token_file names"},
		"the key as a name":              {"accounts:\n- name: " + key + "\n  token_file: acme.key\n", "line 2: contains an API key; keep it only in the file that token_file names"},
		"the start of the key as a name": {"accounts:\n- name: " + key[:20] + "\n  token_file: acme.key\n", "account 1: contains an API key; keep it only in the file that token_file names"},
		"an escaped key as a name":       {"accounts:\n- name: \"" + fmt.Sprintf(`\x%02x`, key[0]) + key[1:] + "\"\n  token_file: acme.key\n", "account 1: contains an API key; keep it only in the file that token_file names"},
		"the key in a proxy":             {head + "    proxy_url: http://x:" + key + "@proxy\n", "line 4: contains an API key; keep it only in the file that token_file names"},
		"no URL":                         {head + "    url: '%" + key + "'\n", `account "acme": url: is not a URL; write it like https://app.chatwize.ai`},
		"another scheme":                 {head + "    url: ftp://a\n", `account "acme": url: is not an http or https URL; write it like https://app.chatwize.ai`},
		"URL with a password":            {head + "    url: http://a:b@c\n", `account "acme": url: has a user name or password; the API accepts only a key, from token_file`},
		"timeout":                        {head + "    timeout: 0s\n", `account "acme": timeout: is too short; minimum 1ms`},
		"timeout without a unit":         {head + "    timeout: 20\n", `account "acme": timeout: must be a duration, such as 500ms, 30s or 5m`},
		"concurrency":                    {head + "    concurrency: 0\n", `account "acme": concurrency: must be a whole number, minimum 1`},
		"cache_ttl":                      {head + "    cache_ttl: -1s\n", `account "acme": cache_ttl: is too short; minimum 0s`},
		"window":                         {head + "    window: 1m\n", `account "acme": window: is too short; minimum 5m0s, or 0 to fetch full lists only`},
		"no chatbots":                    {head + "    chatbots: []\n", `account "acme": chatbots: is empty; list chatbots, or remove it for all of the account`},
		"chatbots without a value":       {head + "    chatbots: # all\n", `account 1: chatbots: has no value, or a field in it has none; write one or remove the field`},
		"a chatbot without a name":       {head + "    chatbots: [{uuid: " + shopUUID + ", name: }]\n", `account 1: chatbots: has no value, or a field in it has none; write one or remove the field`},
		"TLS without a value":            {head + "    tls_config: {ca_file: }\n", `account 1: tls_config: has no value, or a field in it has none; write one or remove the field`},
		"a header without a value":       {head + "    proxy_connect_header: {X: [~]}\n", `account 1: proxy_connect_header: has no value, or a field in it has none; write one or remove the field`},
		"URL without a value":            {head + "    url:\n", `account 1: url: has no value, or a field in it has none; write one or remove the field`},
		"chatbots as a text":             {head + "    chatbots: " + shopUUID + "\n", `account "acme": chatbots: line 4 has a value of the wrong type (check the indentation, and the space after the colon)`},
		"no UUID":                        {head + "    chatbots: [{uuid: " + key + "}]\n", `account "acme": chatbots: uuid of chatbot 1 is not a UUID; write 32 hexadecimal digits, with or without dashes`},
		"chatbot twice":                  {head + "    chatbots: [{uuid: " + deskUUID + "}, {uuid: 7f5e5376dbf045cd8c72c60f428653d2}]\n", `account "acme": chatbots: chatbot 7f5e5376dbf045cd8c72c60f428653d2 is given twice; remove one`},
		"unknown field, chatbot":         {head + "    chatbots:\n    - uuid: " + deskUUID + "\n      nam: x\n", `account "acme": chatbots: line 6 has an unknown field nam`},
		"include with chatbots":          {head + "    chatbots: [{uuid: " + shopUUID + "}]\n    include: Shop\n", `account "acme": include: is for discovered chatbots; remove it or chatbots`},
		"no regular expression":          {head + "    exclude: '(" + key + "'\n", `account "acme": exclude: is not a regular expression; write one as RE2 describes, such as Test.*`},
		"unknown TLS version":            {head + "    tls_config: {min_version: " + key + "}\n", `account "acme": tls_config: cannot be understood; write it as docs/accounts.md shows`},
		"unknown field of TLS":           {head + "    tls_config:\n      ca: x\n      cafile: x\n", `account "acme": tls_config: line 6 has an unknown field cafile`},
		"missing certificate":            {head + "    tls_config: {ca_file: " + key + "}\n", `account "acme": tls_config: ca_file: cannot be read: ` + missing},
		"no certificate":                 {head + "    tls_config: {ca_file: two.key}\n", `account "acme": tls_config: its certificates or its key cannot be used; write them as in the configuration of Prometheus`},
		"certificate without key":        {head + "    tls_config: {cert: x}\n", `account "acme": tls_config: exactly one of key or key_file must be configured when a client certificate is configured`},
		"no proxy URL":                   {head + "    proxy_url: 'http://%" + key + "'\n", `account "acme": proxy_url: cannot be understood; write it as in the configuration of Prometheus`},
		"proxy without a scheme":         {head + "    proxy_url: proxy.example\n", `account "acme": proxy_url: is not the URL of a proxy; write it like http://proxy.example:3128`},
		"two proxies":                    {head + "    proxy_url: http://proxy\n    proxy_from_environment: true\n", `account "acme": proxy_url: if proxy_from_environment is configured, proxy_url must not be configured`},
		"proxy_from_environment":         {head + "    proxy_from_environment: [" + key + "]\n", `account "acme": proxy_from_environment: cannot be understood; write it as in the configuration of Prometheus`},
	}
	folder := t.TempDir()
	write(t, folder, "acme.key", key)
	write(t, folder, "two.key", "two words")
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			path := write(t, folder, "accounts.yml", test.content)
			configs, err := accounts.ReadFile(t.Context(), path, defaults(t))
			if err == nil || err.Error() != path+": "+test.want || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %+v,\n%v, want\n%s", configs, err, test.want)
			}
		})
	}
	for path, want := range map[string]string{
		filepath.Join(folder, key): "the file: cannot be read: " + missing + "; name a file with accounts",
		folder:                     folder + ": cannot be read: " + folderError + "; name a file with accounts",
	} {
		if _, err := accounts.ReadFile(t.Context(), path, defaults(t)); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// A key file may have the name of its key, as with --chatwize.token-file.
func TestKeyFileNamedLikeKey(t *testing.T) {
	folder := t.TempDir()
	write(t, folder, key, key)
	path := write(t, folder, "accounts.yml", "accounts: [{name: acme, token_file: "+key+"}]")
	if configs, err := accounts.ReadFile(t.Context(), path, defaults(t)); len(configs) != 1 || err != nil {
		t.Errorf("got %v, %v", configs, err)
	}
}

// The files of TLS are next to the file.
func TestRelativePaths(t *testing.T) {
	folder := t.TempDir()
	write(t, folder, "acme.key", key)
	path := write(t, folder, "accounts.yml", "accounts: [{name: acme, token_file: acme.key, tls_config: {ca_file: ca.pem}}]")
	write(t, folder, "ca.pem", certificate)
	configs, err := accounts.ReadFile(t.Context(), path, defaults(t))
	if err != nil || configs[0].TLS.CAFile != filepath.Join(folder, "ca.pem") {
		t.Errorf("got %+v, %v", configs, err)
	}
}

// certificate is a certificate of an authority.
const certificate = `-----BEGIN CERTIFICATE-----
MIIBbzCCARWgAwIBAgIUO3FAbRO67fu0j4O69yby8QCo4jwwCgYIKoZIzj0EAwIw
DDEKMAgGA1UEAwwBeDAgFw0yNjExMjYyMjA4MjRaGA8yMTI2MTEwMjIyMDgyNFow
DDEKMAgGA1UEAwwBeDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABA78i2OTvrf8
kB24fTdSOCH/V0NLk6VbR9ccdiH0CmEGgLmdD6W9EkoSEOkoX//f1SM9paiEHxp0
UOGGLdZMfX6jUzBRMB0GA1UdDgQWBBTAHgI3sEjDHODdUJx2XnkWaRfFpjAfBgNV
HSMEGDAWgBTAHgI3sEjDHODdUJx2XnkWaRfFpjAPBgNVHRMBAf8EBTADAQH/MAoG
CCqGSM49BAMCA0gAMEUCIQCeHVAl5v4eVezzjDQce5X6p+WQZzSmeGxeMew0AaQ3
AgIgc/0OND7yr9cm2zqlQzmf9+0ROP/Ft97KWog/mByFA3Y=
-----END CERTIFICATE-----
`

package e2e_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var pagePicture = flag.String("page", "", "write a picture of the page to this PNG file")

// frames is a document with the page at the widths of a phone, a tablet and a screen. It has what a
// browser makes of it as JSON: the page itself has no scripts.
const frames = `<!DOCTYPE html>
<iframe src="prefix/" width="400" height="2000" frameborder="0"></iframe>
<iframe src="prefix/" width="800" height="2000" frameborder="0"></iframe>
<iframe src="prefix/" width="1201" height="1000" frameborder="0"></iframe>
<pre id="seen"></pre>
<script>
const numbers = (color) => color.match(/[\d.]+/g).map(Number);
const luminance = (color) => {
  const [r, g, b] = numbers(color).map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const contrast = (a, b) => (Math.max(luminance(a), luminance(b)) + 0.05) / (Math.min(luminance(a), luminance(b)) + 0.05);
const see = ({ contentWindow: w, contentDocument: d }) => {
  const background = (e) => {
    const color = w.getComputedStyle(e).backgroundColor;
    return numbers(color)[3] === 0 ? background(e.parentElement) : color;
  };
  const texts = [...d.body.querySelectorAll('*')].filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) && !e.closest('svg'));
  return {
    dark: w.matchMedia('(prefers-color-scheme: dark)').matches,
    width: w.innerWidth,
    needed: d.documentElement.scrollWidth,
    faint: texts.filter((e) => contrast(w.getComputedStyle(e).color, background(e)) < 4.5).map((e) => e.outerHTML),
    page: luminance(background(d.body)),
    rows: [...d.querySelectorAll('tbody tr')].map((row) => row.innerText.replace(/\s+/g, ' ')),
    bars: [...d.querySelectorAll('svg')].map((svg) => svg.getBoundingClientRect().width),
    links: [...d.links].map((a) => a.href),
    loaded: w.performance.getEntriesByType('resource').map((entry) => entry.name),
  };
};
addEventListener('load', () => {
  document.getElementById('seen').textContent = JSON.stringify([...document.querySelectorAll('iframe')].map(see));
});
</script>`

// seenPage is what a browser makes of the page.
type seenPage struct {
	Dark          bool
	Width, Needed int      // pixels
	Faint         []string // elements with too little contrast
	Page          float64  // luminance of the background
	Rows          []string
	Bars          []float64 // widths
	Links         []string
	Loaded        []string // from elsewhere
}

// chromium runs a headless Chromium, which prefers a dark page or a light one.
func chromium(t *testing.T, dark bool, arguments ...string) string {
	t.Helper()
	if _, err := exec.LookPath("chromium"); err != nil {
		t.Skip("there is no chromium")
	}
	scheme := 1
	if dark {
		scheme = 0
	}
	command := exec.CommandContext(t.Context(), "chromium", append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--hide-scrollbars",
		"--user-data-dir=" + filepath.Join(t.TempDir(), "profile"), fmt.Sprintf("--blink-settings=preferredColorScheme=%d", scheme),
	}, arguments...)...)
	command.WaitDelay = time.Second
	output, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(output)
}

var seenJSON = regexp.MustCompile(`(?s)<pre id="seen">(.*?)</pre>`)

// In a browser, the page can be read at the widths of a phone, a tablet and a screen, light
// and dark, also behind a path prefix. It loads nothing else, and its links lead somewhere.
func TestPage(t *testing.T) {
	e := start(t, nil, exporter, "127.0.0.1:0", "demo", "--accounts=2")
	target := &url.URL{Scheme: "http", Host: e.address}
	mux := http.NewServeMux()
	mux.Handle("/prefix/", http.StripPrefix("/prefix", httputil.NewSingleHostReverseProxy(target)))
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, frames) })
	server := httptest.NewServer(mux)
	defer server.Close()

	for _, dark := range []bool{false, true} {
		found := seenJSON.FindStringSubmatch(chromium(t, dark, "--virtual-time-budget=10000", "--dump-dom", server.URL))
		if found == nil {
			t.Fatal("the browser says nothing")
		}
		var pages []seenPage
		if err := json.Unmarshal([]byte(html.UnescapeString(found[1])), &pages); err != nil {
			t.Fatal(err)
		}
		for i, width := range []int{400, 800, 1201} {
			page := pages[i]
			if page.Dark != dark || (page.Page < 0.2) != dark || page.Width != width || page.Needed > width {
				t.Errorf("dark: %t, width %d: got %+v", dark, width, page)
			}
			if len(page.Faint) > 0 || len(page.Loaded) > 0 {
				t.Errorf("dark: %t, width %d: too faint are %q, loaded are %q", dark, width, page.Faint, page.Loaded)
			}
			if len(page.Rows) != 10 || !strings.Contains(page.Rows[0], "Help centre") || len(page.Bars) < 8 || page.Bars[0] < 100 {
				t.Errorf("dark: %t, width %d: got rows %q with bars %v", dark, width, page.Rows, page.Bars)
			}
			for _, link := range page.Links {
				response, err := http.Get(link)
				if err != nil || response.StatusCode != http.StatusOK || !strings.HasPrefix(link, server.URL+"/prefix/") {
					t.Errorf("%s: got %v, %v", link, response, err)
					continue
				}
				_ = response.Body.Close()
			}
		}
	}
	if *pagePicture != "" {
		e := start(t, nil, exporter, "127.0.0.1:0", "demo")
		chromium(t, false, "--window-size=1280,552", "--screenshot="+*pagePicture, "http://"+e.address+"/")
	}
}

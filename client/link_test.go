package client_test

import (
	"net/http"
	"testing"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

// A list that names a next page is not the whole list, of sessions and of chatbots.
func TestPages(t *testing.T) {
	tests := map[string]struct {
		links []string
		page  bool
	}{
		"none":                       {nil, false},
		"next":                       {[]string{`<https://api.example/?page=2>; rel="next"`}, true},
		"without quotes":             {[]string{`</?page=2>;rel=next`}, true},
		"in capitals":                {[]string{`</?page=2> ; REL = "NEXT"`}, true},
		"one of several relations":   {[]string{`</?page=2>; rel="last next"`}, true},
		"after another link":         {[]string{`</?page=1>; rel="first", </?page=2>; rel="next"`}, true},
		"in a second header":         {[]string{`</?page=1>; rel="prev"`, `</?page=2>; rel="next"`}, true},
		"after other parameters":     {[]string{`</?page=2>; title="a, b; \" c"; rel="next"`}, true},
		"a comma in the URI":         {[]string{`</?page=2,3>; rel="next"`}, true},
		"the last page":              {[]string{`</?page=1>; rel="prev", </?page=1>; rel="first"`}, false},
		"next in the URI":            {[]string{`</next?rel="next">; rel="self"`}, false},
		"next in a title":            {[]string{`</>; title="rel=next"; rel="self"`}, false},
		"a relation that is another": {[]string{`</>; rel="nextish"`, `</>; rel="https://api.example/next"`}, false},
		"next in a title after ;":    {[]string{`</docs>; title="a; rel=next"; rel="help"`}, false},
		"of another resource":        {[]string{`</?page=2>; rel="next"; anchor="/other"`}, false},
		"another parameter":          {[]string{`</>; rev="next"`}, false},
		"not a link":                 {[]string{`rel="next"`, `<`, `<>`, ``, `</>; rel="`, `>;rel=next`}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Link"] = test.links
				_, _ = w.Write([]byte("[]"))
			}))
			_, sessionsErr := sessions(t.Context(), c)
			_, chatbotsErr := c.Chatbots(t.Context())
			for _, err := range []error{sessionsErr, chatbotsErr} {
				if !test.page {
					if err != nil {
						t.Error(err)
					}
					continue
				}
				const says = "the response is not as documented: byte 0: only a page of the list: a Link header names the next one"
				if failure := failure(t, err); failure.Reason != client.InvalidResponse || failure.Transient || err.Error() != says {
					t.Errorf("got %+v", failure)
				}
			}
		})
	}
}

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/accounts"
	"github.com/chatwize-exporter/chatwize_exporter/internal/pipetest"
	"github.com/chatwize-exporter/chatwize_exporter/internal/web"
)

// dial returns a connection to the exporter's server with a handler. The connection is
// in memory, so that it has the clock of synctest.
func dial(t *testing.T, handler http.Handler, errorLog io.Writer) net.Conn {
	t.Helper()
	ours, listener := pipetest.New()
	server := newServer(handler, stdlog.New(errorLog, "", 0))
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() {
		_ = ours.Close()
		_ = server.Close()
		time.Sleep(time.Second) // net/http closes some connections half a second late
	})
	return ours
}

// A client that sends too slowly, or nothing, loses its connection.
func TestSlowClient(t *testing.T) {
	const get = "GET / HTTP/1.1\r\nHost: x\r\n"
	tests := map[string]struct {
		request string
		answer  string
		closed  time.Duration // after which the connection is closed
	}{
		"sends nothing":         {"", "", 5 * time.Second},
		"does not end a header": {get, "", 5 * time.Second},
		"does not send a body":  {get + "Content-Length: 10\r\n\r\n", "read 0 bytes", 10 * time.Second},
		"does not end a body":   {get + "Content-Length: 10\r\n\r\n01234", "read 5 bytes", 10 * time.Second},
		"is idle":               {get + "\r\n", "read 0 bytes", 2 * time.Minute},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				connection := dial(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					body, _ := io.ReadAll(r.Body)
					_, _ = io.WriteString(w, "read "+string(rune('0'+len(body)))+" bytes")
				}), io.Discard)
				if _, err := io.WriteString(connection, test.request); err != nil {
					t.Fatal(err)
				}
				answer, err := io.ReadAll(connection)
				if took := time.Since(begun); err != nil || took != test.closed {
					t.Errorf("got %v after %v, want the connection closed after %v", err, took, test.closed)
				}
				if !strings.HasSuffix(string(answer), test.answer) || (len(answer) > 0) != (test.answer != "") {
					t.Errorf("got %q, want %q", answer, test.answer)
				}
			})
		})
	}
}

// A client that closes its side, as nc -N does, gets no empty page with status 200.
func TestHalfClosed(t *testing.T) {
	hang := make(chan struct{})
	api := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	defer api.Close()
	defer close(hang)
	e := start(t, []string{"CHATWIZE_URL=" + api.URL, "CHATWIZE_TOKEN=" + key})
	for _, path := range []string{"/metrics", "/", "/sd", "/probe?target=" + shop} {
		connection, err := net.Dial("tcp", strings.TrimPrefix(e.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fprintf(connection, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path)
		if err := connection.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(connection)
		if !strings.HasPrefix(string(answer), "HTTP/1.1 499 ") || !strings.Contains(string(answer), "the client closed the connection before the response\n") {
			t.Errorf("%s: got %q, %v", path, answer, err)
		}
		_ = connection.Close()
	}
}

// A client of HTTP/2 that does not read its response loses its connection 30 seconds
// after the response has begun.
func TestSlowReaderHTTP2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := accounts.Config{URL: &url.URL{Scheme: "http", Host: "api.example"}, Concurrency: 1, Timeout: time.Second}
		for i := range 1000 {
			config.Chatbots = append(config.Chatbots, client.Chatbot{UUID: uuid(i), Name: uuid(i)})
		}
		handler := handlerOf(t, web.Options{TelemetryPath: "/metrics"}, log.NewNopLogger(), config)
		ours, listener := pipetest.New()
		server := newServer(handler, stdlog.New(io.Discard, "", 0))
		server.Protocols = new(http.Protocols)
		server.Protocols.SetUnencryptedHTTP2(true)
		closed := make(chan struct{})
		server.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateClosed {
				close(closed)
			}
		}
		go func() { _ = server.Serve(listener) }()
		defer server.Close()
		transport := &http.Transport{
			Protocols:   server.Protocols,
			HTTP2:       &http.HTTP2Config{MaxReceiveBufferPerStream: 64 << 10, MaxReceiveBufferPerConnection: 64 << 10},
			DialContext: func(context.Context, string, string) (net.Conn, error) { return ours, nil },
		}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://exporter.example/sd", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Accept-Encoding", "identity")
		begun := time.Now()
		response, err := transport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		<-closed
		if took := time.Since(begun); took != 30*time.Second {
			t.Errorf("closed after %v, want 30s", took)
		}
		if _, err := io.Copy(io.Discard, response.Body); err == nil {
			t.Error("the response is complete")
		}
		_ = response.Body.Close()
	})
}

// The headers of a request have a limit. The handler gets all requests below it.
func TestRequestLimits(t *testing.T) {
	header := func(size int) string {
		return "GET / HTTP/1.1\r\nHost: x\r\nX-Large: " + strings.Repeat("x", size) + "\r\n\r\n"
	}
	tests := map[string]struct {
		request string
		status  int
	}{
		"a header of 15 KiB":      {header(15 << 10), http.StatusTeapot},
		"a header of 32 KiB":      {header(32 << 10), http.StatusRequestHeaderFieldsTooLarge},
		"options of the server":   {"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", http.StatusTeapot},
		"a request without Host:": {"GET / HTTP/1.1\r\n\r\n", http.StatusBadRequest},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				connection := dial(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					w.WriteHeader(http.StatusTeapot)
				}), io.Discard)
				go func() { _, _ = io.WriteString(connection, test.request) }() // may not be read to its end
				response, err := http.ReadResponse(bufio.NewReader(connection), nil)
				if err != nil {
					t.Fatal(err)
				}
				if response.StatusCode != test.status {
					t.Errorf("got %s, want %d", response.Status, test.status)
				}
			})
		})
	}
}

// A handler that panics ends its connection, not the process. The log says so.
func TestPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logged := newLogBuffer()
		connection := dial(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(errors.New("bug")) }), logged)
		if _, err := io.WriteString(connection, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if answer, err := io.ReadAll(connection); err != nil || len(answer) > 0 {
			t.Errorf("got %q, %v", answer, err)
		}
		contains(t, logged.String(), "http: panic serving", "bug")
	})
}

// A connection has ten HTTP/2 streams at a time. A client that needs more dials again.
func TestHTTP2Streams(t *testing.T) {
	const requests, most = 25, 10
	var mutex sync.Mutex
	streams := map[string]int{}
	var arrived sync.WaitGroup
	arrived.Add(requests)
	server := httptest.NewUnstartedServer(nil)
	server.Config = newServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/first" {
			return
		}
		mutex.Lock()
		streams[r.Proto+" "+r.RemoteAddr]++
		mutex.Unlock()
		arrived.Done()
		arrived.Wait()
	}), stdlog.New(io.Discard, "", 0))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	get := func(path string) {
		response, err := server.Client().Get(server.URL + path)
		if err != nil {
			t.Error(err)
			return
		}
		_ = response.Body.Close()
	}
	get("/first") // the limit is known from then on
	var clients sync.WaitGroup
	for range requests {
		clients.Go(func() { get("/") })
	}
	clients.Wait()
	total := 0
	for connection, n := range streams {
		if total += n; n > most || !strings.HasPrefix(connection, "HTTP/2.0 ") {
			t.Errorf("%s: %d requests at a time, want up to %d", connection, n, most)
		}
	}
	if total != requests {
		t.Errorf("%d requests, want %d", total, requests)
	}
}

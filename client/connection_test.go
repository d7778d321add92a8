package client_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

// pipes is a network in memory, so that the clock of synctest is that of connections.
type pipes struct {
	accepted chan net.Conn
	dialed   atomic.Int32
	dies     atomic.Bool // every connection there is, without a word
}

// dyingConn loses what is written to it once its network dies, and receives nothing.
type dyingConn struct {
	net.Conn
	dead func() bool
}

func (c dyingConn) Write(p []byte) (int, error) {
	if c.dead() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	p.dialed.Add(1)
	p.dies.Store(false)
	first := p.dialed.Load() == 1
	p.accepted <- theirs
	return dyingConn{ours, func() bool { return first && p.dialed.Load() == 1 && p.dies.Load() }}, nil
}

func (p *pipes) Accept() (net.Conn, error) {
	conn, ok := <-p.accepted
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}

func (p *pipes) Close() error {
	close(p.accepted)
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{} }

// newPipedClient returns a client of a server that answers with an empty list after a
// time, by HTTP/2 or HTTP/1.1, over connections in memory.
func newPipedClient(t *testing.T, http2 bool, takes time.Duration) (*client.Client, *pipes) {
	t.Helper()
	protocols := &http.Protocols{}
	protocols.SetHTTP1(!http2)
	protocols.SetUnencryptedHTTP2(http2)
	network := &pipes{accepted: make(chan net.Conn)}
	server := &http.Server{Protocols: protocols, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(takes):
			_, _ = io.WriteString(w, "[]")
		case <-r.Context().Done():
		}
	})}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(network) })
	transport := client.NewTransport(1)
	transport.Protocols, transport.DialContext = protocols, network.dial
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = server.Close()
		serving.Wait()
		synctest.Wait()
	})
	return client.New(client.Config{
		URL:       &url.URL{Scheme: "http", Host: "api.example"},
		Key:       func(context.Context) (string, error) { return key, nil },
		Transport: transport,
	}), network
}

// An HTTP/2 connection that dies unnoticed fails its request after five seconds, in time
// for another try within a scrape timeout of ten. The next request has a new connection.
func TestDeadConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, network := newPipedClient(t, true, time.Second)
		if _, err := sessions(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		network.dies.Store(true)
		begun := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 9500*time.Millisecond)
		defer cancel()
		_, err := sessions(ctx, c)
		if failure := failure(t, err); failure.Reason != client.Network || !failure.Transient || time.Since(begun) > 5*time.Second {
			t.Errorf("got %+v after %v", failure, time.Since(begun))
		}
		if _, err := sessions(ctx, c); err != nil || network.dialed.Load() != 2 {
			t.Errorf("the next request got %v with %d connections", err, network.dialed.Load())
		}
	})
}

// A connection that dies between scrapes is found dead before the next one.
func TestDeadIdleConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, network := newPipedClient(t, true, 0)
		if _, err := sessions(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		network.dies.Store(true)
		time.Sleep(15 * time.Second)
		if _, err := sessions(t.Context(), c); err != nil || network.dialed.Load() != 2 {
			t.Errorf("got %v with %d connections", err, network.dialed.Load())
		}
	})
}

// A server that needs long for its answer is not taken for dead while it answers pings.
func TestSlowAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := newPipedClient(t, true, 5*time.Minute)
		if _, err := sessions(t.Context(), c); err != nil {
			t.Error(err)
		}
	})
}

// Connections are kept from one scrape to the next a few seconds later, and closed before
// the next a minute later, so that changes of DNS are followed.
func TestIdleConnections(t *testing.T) {
	tests := map[string]struct {
		http2 bool
		takes time.Duration // the scrape itself
	}{
		"HTTP/1.1": {false, 30 * time.Second},
		// net/http uses an HTTP/2 connection no longer than that after it was dialed.
		"HTTP/2": {true, time.Second},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, network := newPipedClient(t, test.http2, test.takes)
				for i, pause := range []time.Duration{0, 15 * time.Second, 30 * time.Second} {
					time.Sleep(pause)
					if _, err := sessions(t.Context(), c); err != nil {
						t.Fatal(err)
					}
					if got, want := network.dialed.Load(), []int32{1, 1, 2}[i]; got != want {
						t.Errorf("after a pause of %v: %d connections, want %d", pause, got, want)
					}
				}
			})
		})
	}
}

// refuseStreams is a server of HTTP/2 that refuses each request, so that it may be sent on
// another connection (RFC 9113, section 8.7). It counts all connections and those that are open.
func refuseStreams(t *testing.T, how string) (base string, connections, open *atomic.Int32) {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS() // for its certificate
	t.Cleanup(server.Close)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: server.TLS.Certificates, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	frame := func(kind byte, stream byte, payload ...byte) []byte {
		return append([]byte{0, 0, byte(len(payload)), kind, 0, 0, 0, 0, stream}, payload...)
	}
	const headers, resetStream, settings, goAway = 1, 3, 4, 7
	connections, open = &atomic.Int32{}, &atomic.Int32{}
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			open.Add(1)
			go func() {
				defer open.Add(-1)
				defer func() { _ = connection.Close() }()
				if how == "GOAWAY" {
					_, _ = connection.Write(append(frame(settings, 0), frame(goAway, 0, 0, 0, 0, 0, 0, 0, 0, 0)...))
				} else {
					const maxConcurrentStreams = 3
					_, _ = connection.Write(frame(settings, 0, 0, maxConcurrentStreams, 0, 0, 0, 0))
				}
				if _, err := io.CopyN(io.Discard, connection, int64(len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))); err != nil {
					return
				}
				for {
					var head [9]byte
					if _, err := io.ReadFull(connection, head[:]); err != nil {
						return
					}
					if _, err := io.CopyN(io.Discard, connection, int64(head[1])<<8+int64(head[2])); err != nil {
						return
					}
					if head[3] == headers {
						const refused = 7
						_, _ = connection.Write(frame(resetStream, head[8], 0, 0, 0, refused))
					}
				}
			}()
		}
	}()
	return "https://" + listener.Addr().String(), connections, open
}

// A server that refuses requests on all connections gets few of them.
func TestRefusedStreams(t *testing.T) {
	for _, how := range []string{"GOAWAY", "no streams"} {
		base, connections, open := refuseStreams(t, how)
		transport := client.NewTransport(1)
		transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := sessions(ctx, newClientWith(t, base, transport))
		if failure := failure(t, err); failure.Reason != client.Network || !failure.Transient ||
			err.Error() != "talking to the API: 6 connections in a row refused the request" {
			t.Errorf("%s: got %v", how, err)
		}
		if n := connections.Load(); n > 6 {
			t.Errorf("%s: %d connections", how, n)
		}
		for deadline := time.Now().Add(10 * time.Second); open.Load() > 0; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: %d connections are still open", how, open.Load())
			}
		}
	}
}

// A key that cannot be read for want of file descriptors, or in time, is not refused.
func TestKeyOutOfReach(t *testing.T) {
	ended, end := context.WithCancel(t.Context())
	end()
	for _, test := range []struct {
		ctx    context.Context
		err    error
		reason client.Reason
	}{
		{t.Context(), errors.New("gone"), client.Unauthorized},
		{t.Context(), fmt.Errorf("the file cannot be read: %w", syscall.EMFILE), client.Network},
		{ended, ended.Err(), client.Timeout},
	} {
		c := client.New(client.Config{URL: &url.URL{}, Key: func(context.Context) (string, error) { return "", test.err }})
		_, err := c.Chatbots(test.ctx)
		if failure := failure(t, err); failure.Reason != test.reason || !errors.Is(err, client.ErrNoKey) {
			t.Errorf("got %+v, want %s", failure, test.reason)
		}
	}
}

// A key that cannot be read is an error that says so.
func TestNoKey(t *testing.T) {
	c := client.New(client.Config{
		URL: &url.URL{Scheme: "http", Host: "api.example"},
		Key: func(context.Context) (string, error) { return "", errors.New("gone") },
	})
	if _, err := sessions(t.Context(), c); !errors.Is(err, client.ErrNoKey) || err.Error() != "reading the API key: gone" {
		t.Errorf("got %v", err)
	}
}

// A request that waits for the headers of its response needs little memory. The buffers
// for the body come later.
func TestWaitingMemory(t *testing.T) {
	const requests, limit = 50, 64 << 10 // bytes per request, server included
	arrived, release := make(chan bool, requests), make(chan bool)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		arrived <- true
		<-release
		_, _ = io.WriteString(w, "[]")
	}))
	defer server.Close()
	transport := client.NewTransport(requests)
	defer transport.CloseIdleConnections()
	api := newClientWith(t, server.URL, transport)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var waits sync.WaitGroup
	for range requests {
		waits.Go(func() {
			if _, err := sessions(t.Context(), api); err != nil {
				t.Error(err)
			}
		})
	}
	for range requests {
		<-arrived
	}
	runtime.ReadMemStats(&after)
	close(release)
	waits.Wait()
	each := (after.TotalAlloc - before.TotalAlloc) / requests
	t.Logf("%d bytes for each", each)
	if each > limit {
		t.Errorf("a request that waits needs %d bytes, want %d at most", each, limit)
	}
}

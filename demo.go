package main

import (
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/internal/accounts"
	"github.com/chatwize-exporter/chatwize_exporter/internal/simulator"
)

// startDemo starts simulated accounts on loopback ports, until stop is called.
func (s *settings) startDemo() (stop func(), err error) {
	var servers []*http.Server
	stop = func() {
		for _, server := range servers {
			_ = server.Close()
		}
	}
	now := time.Now()
	for i := range s.demoSize {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			stop()
			return nil, err
		}
		key := rand.Text()
		server := &http.Server{Handler: simulator.Demo(key, now, i)}
		servers = append(servers, server)
		go func() { _ = server.Serve(listener) }()
		account := s.account
		account.URL = &url.URL{Scheme: "http", Host: listener.Addr().String()}
		account.Key, account.Chatbots = accounts.InlineKey(key), nil
		if s.demoSize > 1 {
			account.Name = fmt.Sprintf("demo-%d", i+1)
		}
		s.demo = append(s.demo, account)
	}
	return stop, nil
}

package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
)

// An error of listening says no name of a host, which may be an API key.
func TestListenProblem(t *testing.T) {
	listen := func(address net.Addr, err error) error {
		return &net.OpError{Op: "listen", Net: "tcp", Addr: address, Err: err}
	}
	taken := os.NewSyscallError("bind", syscall.EADDRINUSE)
	tests := map[string]struct {
		err  error
		want string // empty: not about listening
	}{
		"taken":          {listen(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 10113}, taken), "127.0.0.1:10113: bind: address already in use"},
		"a zone":         {listen(&net.TCPAddr{IP: net.ParseIP("fe80::1"), Port: 1, Zone: key}, taken), "[fe80::1]:1: bind: address already in use"},
		"another net":    {listen(&net.UnixAddr{Name: key}, taken), "bind: address already in use"},
		"unknown host":   {listen(nil, &net.DNSError{Err: "no such host", Name: key}), "no such host"},
		"no address":     {listen(nil, &net.AddrError{Err: "missing port in address", Addr: key}), "the address is invalid"},
		"among others":   {fmt.Errorf("%s: %w", key, listen(nil, taken)), "bind: address already in use"},
		"of accepting":   {&net.OpError{Op: "accept", Err: taken}, ""},
		"something else": {errors.New(key), ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			problem, hint, ok := listenProblem(test.err)
			if ok != (test.want != "") || ok && hint == "" || strings.Contains(problem+hint, key) ||
				problem != test.want && !strings.HasSuffix(test.want, "in use") {
				t.Errorf("got %q, %q, %t", problem, hint, ok)
			}
			if problem, hint := serveProblem(test.err); problem == "" || hint == "" || ok == strings.Contains(hint, "systemd") || strings.Contains(problem+hint, key) {
				t.Errorf("got %q, %q", problem, hint)
			}
		})
	}
}

// The log says where the page is, if that is known.
func TestPageURL(t *testing.T) {
	for _, test := range []struct {
		arguments, want string
		tls             bool
	}{
		{"", "http://localhost:10113/", false},
		{"--web.listen-address=0.0.0.0:80", "http://localhost:80/", false},
		{"--web.listen-address=[::]:443", "https://localhost:443/", true},
		{"--web.listen-address=[::ffff:0.0.0.0]:81", "http://localhost:81/", false},
		{"--web.listen-address=[::1]:1", "http://[::1]:1/", false},
		{"--web.listen-address=192.0.2.1:1 --web.listen-address=:2", "http://192.0.2.1:1/", false},
		{"--web.listen-address=localhost:1", "http://localhost:1/", false},
		{"--web.listen-address=:0", "", false},
		{"--web.listen-address=vsock://:1", "", false},
		{"--web.listen-address=" + key + ":1", "", false},
		{"--web.listen-address=[fe80::1%" + key + "]:1", "", false},
		{"--web.telemetry-path=/", "", false},
	} {
		s, err := parse(strings.Fields(test.arguments), io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		s.servesTLS = test.tls
		if got := s.pageURL(); got != test.want {
			t.Errorf("%s: got %q, want %q", test.arguments, got, test.want)
		}
	}
}

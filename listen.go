package main

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/chatwize-exporter/chatwize_exporter/internal/healthcheck"
)

// checkListenAddress returns an error if exporter-toolkit cannot listen on an address,
// whatever the machine.
func checkListenAddress(address string) error {
	if strings.HasPrefix(address, "vsock://") {
		if u, err := url.Parse(address); err == nil {
			if _, port, err := net.SplitHostPort(u.Host); err == nil {
				if _, err := strconv.ParseUint(port, 10, 32); err == nil {
					return nil
				}
			}
		}
		return errors.New("is not a vsock address; write it like vsock://:10113")
	}
	_, port, err := net.SplitHostPort(address)
	if err == nil && port != "" {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil || port == "" {
		return errors.New("is not an address with a port; write it like :10113 or 127.0.0.1:10113")
	}
	return nil
}

// pageURL returns the address of the page for people on this machine. It is empty if there
// is none, if it is not known before the exporter listens, or if it has a name, which may be
// an API key in the wrong place.
func (s *settings) pageURL() string {
	if s.web.TelemetryPath == "/" || *s.listen.WebSystemdSocket || len(*s.listen.WebListenAddresses) == 0 {
		return ""
	}
	base, err := healthcheck.BaseURL((*s.listen.WebListenAddresses)[0], s.servesTLS)
	if err != nil {
		return ""
	}
	page, err := url.Parse(base)
	if err != nil {
		return ""
	}
	if ip, err := netip.ParseAddr(page.Hostname()); page.Hostname() != "localhost" && (err != nil || ip.Zone() != "") {
		return ""
	}
	return page.JoinPath("/").String()
}

// listenProblem returns why the exporter cannot listen, and what to do about it. It
// reports false if err is about something else. Of the address it says only numbers, as
// a name may be an API key in the wrong place.
func listenProblem(err error) (problem, hint string, ok bool) {
	var listening *net.OpError
	if !errors.As(err, &listening) || listening.Op != "listen" {
		return "", "", false
	}
	const another = "give another --web.listen-address, or end the process that listens there"
	var unknown *net.DNSError
	var refused *os.SyscallError
	switch {
	case errors.As(err, &unknown):
		return unknown.Err, "write --web.listen-address with a name or an IP address of this machine", true
	case !errors.As(err, &refused):
		return "the address is invalid", another, true
	}
	problem = refused.Error()
	if tcp, isTCP := listening.Addr.(*net.TCPAddr); isTCP {
		withoutZone := &net.TCPAddr{IP: tcp.IP, Port: tcp.Port}
		problem = withoutZone.String() + ": " + problem
	}
	return problem, another, true
}

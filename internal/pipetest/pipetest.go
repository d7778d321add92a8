// Package pipetest has a connection in memory for tests of servers, so that the clock of
// testing/synctest is that of the connection.
package pipetest

import "net"

// New returns a connection and a listener that accepts its other end.
func New() (net.Conn, net.Listener) {
	ours, theirs := net.Pipe()
	l := &listener{connections: make(chan net.Conn, 1), closed: make(chan struct{})}
	l.connections <- theirs
	return ours, l
}

type listener struct {
	connections chan net.Conn
	closed      chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case connection := <-l.connections:
		return connection, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	close(l.closed)
	return nil
}

func (*listener) Addr() net.Addr { return &net.UnixAddr{} }

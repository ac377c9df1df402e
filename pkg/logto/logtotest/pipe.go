package logtotest

import (
	"context"
	"net"
	"sync"
)

// PipeListener is a net.Listener in memory: each connection is a net.Pipe. Goroutines that wait for such a connection are
// durably blocked in the sense of testing/synctest, which those that wait for a socket are not; so a server on a
// PipeListener, made inside a bubble, lets the bubble's clock run.
//
// Its address is 127.0.0.1:3001, whatever else listens there; only DialContext reaches it.
type PipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// NewPipeListener makes a PipeListener. Inside a synctest bubble, make it there.
func NewPipeListener() *PipeListener {
	return &PipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

// Accept implements net.Listener. After Close it returns net.ErrClosed.
func (l *PipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. Connections that were accepted stay open.
func (l *PipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements net.Listener.
func (l *PipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 3001} }

// DialContext connects to the listener, whatever network and address are asked for: it is for the DialContext of an
// http.Transport. It waits until the connection is accepted, the listener closes (net.ErrClosed), or ctx ends.
func (l *PipeListener) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "dial", Net: network, Addr: l.Addr(), Err: net.ErrClosed}
	case <-ctx.Done():
		return nil, &net.OpError{Op: "dial", Net: network, Addr: l.Addr(), Err: ctx.Err()}
	}
}

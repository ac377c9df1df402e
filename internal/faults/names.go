package faults

import (
	"context"
	"encoding/binary"
	"net"
	"sync/atomic"
)

// nameServer knows every name by the address 127.0.0.1, or none (RFC 1035, over UDP).
type nameServer struct {
	conn   net.PacketConn
	absent atomic.Bool
	done   chan struct{}
}

func startNameServer() (*nameServer, error) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &nameServer{conn: conn, done: make(chan struct{})}
	go s.serve()
	return s, nil
}

func (s *nameServer) gone(gone bool) { s.absent.Store(gone) }

// resolver asks this server alone.
func (s *nameServer) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", s.conn.LocalAddr().String())
	}}
}

func (s *nameServer) serve() {
	defer close(s.done)
	packet := make([]byte, 1500)
	for {
		n, from, err := s.conn.ReadFrom(packet)
		if err != nil {
			return
		}
		if reply := s.answer(packet[:n]); reply != nil {
			s.conn.WriteTo(reply, from)
		}
	}
}

// answer makes of a query its reply: the header and the question as they came, and an address if one was asked for.
func (s *nameServer) answer(query []byte) []byte {
	const header = 12
	end := header
	for end < len(query) && query[end] != 0 {
		end += 1 + int(query[end])
	}
	if end += 5; end > len(query) { // the root, type and class
		return nil
	}
	reply := append([]byte(nil), query[:end]...)
	reply[2] |= 0x84 // a response, with authority
	reply[3] = 0
	clear(reply[6:header])
	if s.absent.Load() {
		reply[3] = 3 // NXDOMAIN
	} else if binary.BigEndian.Uint16(query[end-4:]) == 1 { // A
		reply[7] = 1
		reply = append(reply, 0xc0, header, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1)
	}
	return reply
}

// Close stops the server.
func (s *nameServer) Close() error {
	err := s.conn.Close()
	<-s.done
	return err
}

package faults

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/http"
	"time"

	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

// secure makes the certificates, a right one and one that nobody trusts, and the name server.
func (p *Proxy) secure() (err error) {
	if p.cert, err = selfSigned(Host); err != nil {
		return err
	}
	if p.bad, err = selfSigned("somebody else"); err != nil {
		return err
	}
	p.names, err = startNameServer()
	return err
}

func selfSigned(name string) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{Host, "*." + Host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
}

func (p *Proxy) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fault == BadTLS {
		return p.bad, nil
	}
	return p.cert, nil
}

// Transport is m2m.NewBase for a proxy with TLS: it trusts the right certificate, and asks the proxy's name server. Without TLS it
// is nil.
func (p *Proxy) Transport() *http.Transport { return p.client }

func (p *Proxy) transport() *http.Transport {
	base := m2m.NewBase()
	base.Proxy = nil
	base.TLSClientConfig.RootCAs = x509.NewCertPool()
	base.TLSClientConfig.RootCAs.AddCert(p.cert.Leaf)
	dialer := &net.Dialer{Resolver: p.names.resolver()}
	base.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		p.mu.Lock()
		refused := p.fault == Refused
		p.mu.Unlock()
		if refused {
			address = p.nobody.LocalAddr().String()
		}
		return dialer.DialContext(ctx, network, address)
	}
	return base
}

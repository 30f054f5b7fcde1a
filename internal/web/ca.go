package web

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"time"
)

// CA is control's own certificate authority, for the credentials that gateways
// join with. Immutable; safe for concurrent use if random is.
type CA struct {
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	random io.Reader
}

// backdate allows for clocks that are behind ours.
const backdate = 5 * time.Minute

// NewCA makes an authority that is valid for ttl.
func NewCA(name string, now time.Time, ttl time.Duration, random io.Reader) (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), random)
	if err != nil {
		return nil, fmt.Errorf("make authority key: %w", err)
	}
	serial, err := newSerial(random)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(ttl),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
	}
	der, err := x509.CreateCertificate(random, t, t, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("sign authority: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read back authority: %w", err)
	}
	return &CA{cert: cert, key: key, random: random}, nil
}

// LoadCA reads an authority from the PEM that its methods give.
func LoadCA(certPEM, keyPEM []byte, random io.Reader) (*CA, error) {
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("load authority: %w", err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || !pair.Leaf.IsCA {
		return nil, errors.New("load authority: want a CA certificate with an ECDSA key")
	}
	return &CA{cert: pair.Leaf, key: key, random: random}, nil
}

// CertPEM returns the authority's certificate.
func (c *CA) CertPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.cert.Raw})
}

// KeyPEM returns the authority's private key (PKCS #8), to be kept wrapped.
func (c *CA) KeyPEM() ([]byte, error) { return keyPEM(c.key) }

// Pool returns a pool that trusts this authority alone.
func (c *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(c.cert)
	return pool
}

// Leaf says what a certificate is to be issued for.
type Leaf struct {
	Name  string   // common name; a gateway's id for clients
	Hosts []string // DNS names and IP addresses, for servers
	// Server and Client are the uses allowed.
	Server, Client bool
	TTL            time.Duration
}

// Issue makes a key and a certificate for it, as PEM.
func (c *CA) Issue(l Leaf, now time.Time) (certPEM, privatePEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), c.random)
	if err != nil {
		return nil, nil, fmt.Errorf("make key: %w", err)
	}
	if certPEM, err = c.sign(l, now, key.Public()); err != nil {
		return nil, nil, err
	}
	privatePEM, err = keyPEM(key)
	return certPEM, privatePEM, err
}

// Sign issues a certificate for the key of a certificate request (PEM), whose
// other contents are ignored: control decides the name, the applicant only proves
// that it holds the key.
func (c *CA) Sign(requestPEM []byte, l Leaf, now time.Time) ([]byte, error) {
	block, _ := pem.Decode(requestPEM)
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return nil, errors.New("not a certificate request in PEM")
	}
	req, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read certificate request: %w", err)
	}
	if err := req.CheckSignature(); err != nil {
		return nil, fmt.Errorf("certificate request is not signed by its key: %w", err)
	}
	return c.sign(l, now, req.PublicKey)
}

func (c *CA) sign(l Leaf, now time.Time, public any) ([]byte, error) {
	serial, err := newSerial(c.random)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: l.Name},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(l.TTL),
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
	}
	if l.Server {
		t.ExtKeyUsage = append(t.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	if l.Client {
		t.ExtKeyUsage = append(t.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
	}
	for _, h := range l.Hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(c.random, t, c.cert, public, c.key)
	if err != nil {
		return nil, fmt.Errorf("sign certificate: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

// NewRequest makes a key and a certificate request for it, as PEM: what a joining
// gateway sends. The key never leaves it.
func NewRequest(name string, random io.Reader) (requestPEM, privatePEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), random)
	if err != nil {
		return nil, nil, fmt.Errorf("make key: %w", err)
	}
	der, err := x509.CreateCertificateRequest(random, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, key)
	if err != nil {
		return nil, nil, fmt.Errorf("sign certificate request: %w", err)
	}
	privatePEM, err = keyPEM(key)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), privatePEM, err
}

func keyPEM(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// newSerial returns 127 random bits, never zero (RFC 5280 §4.1.2.2).
func newSerial(random io.Reader) (*big.Int, error) {
	var b [16]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return nil, fmt.Errorf("read randomness: %w", err)
	}
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b[:]), nil
}
